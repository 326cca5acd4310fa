"""Every answer names its request's id; what the request left in the audit names the same."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from starlette.types import Receive, Scope, Send

from app.client_address import ClientAddress
from app.request_id import RequestIds, current_request_id
from app.settings import Settings, get_settings
from db.central import AuditEvent
from db.site import AccessEvent
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import opened

TokenOf = Callable[[str], dict[str, str]]
MADE_HERE = re.compile(r"[0-9a-f]{32}")


@pytest.mark.parametrize("sent", ["from-the-ward_7.1", "a", "x" * 64])
def test_an_id_that_is_accepted_comes_back(api: TestClient, sent: str) -> None:
    assert api.get("/health", headers={"X-Request-ID": sent}).headers["X-Request-ID"] == sent


@pytest.mark.parametrize("sent", ["", "x" * 65, "two words", "a\tb", "<script>", 'quote"', "ü"])
def test_another_id_is_replaced(api: TestClient, sent: str) -> None:
    answer = api.get("/health", headers={"X-Request-ID": sent.encode("latin-1")})
    assert MADE_HERE.fullmatch(answer.headers["X-Request-ID"])


def test_two_requests_have_two_ids_and_outside_of_a_request_there_is_none(api: TestClient) -> None:
    ids = {api.get("/health").headers["X-Request-ID"] for _ in range(3)}
    assert len(ids) == 3
    assert current_request_id() is None


@pytest.mark.parametrize("path", ["/nowhere", "/patients"])
def test_refusals_have_an_id_too(api: TestClient, path: str) -> None:
    answer = api.get(path, headers={"X-Request-ID": "refused-1"})
    assert answer.status_code in (401, 404)
    assert answer.headers["X-Request-ID"] == "refused-1"


def test_a_mistake_of_ours_has_an_id_too(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr("app.services.monitoring.federation", fail)
    answer = api.get("/health", headers={"X-Request-ID": "broken-1"})
    assert answer.status_code == 500
    assert answer.headers["X-Request-ID"] == "broken-1"


def test_what_a_request_leaves_in_audit_and_access_log_names_it(
    consortium: Consortium, api: TestClient, token_of: TokenOf
) -> None:
    api.get("/patients", headers={**token_of("doctor"), "X-Request-ID": "listed-1"})
    api.get("/patients", headers={**token_of("admin"), "X-Request-ID": "refused-2"})
    with consortium.site("northeast") as site:
        event = site.scalars(select(AccessEvent).order_by(AccessEvent.id.desc()).limit(1)).one()
        assert event.request_id == "listed-1"
    with consortium.central() as central:
        refused = select(AuditEvent).where(AuditEvent.outcome == "refused")
        assert central.scalars(refused).one().request_id == "refused-2"


async def _tell_address(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers where the request comes from."""
    host = scope["client"][0].encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": host})


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "address"),
    [
        ("", "192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("", "127.0.0.1", "198.51.100.7", "127.0.0.1"),
        ("192.0.2.1", "192.0.2.1", "198.51.100.7", "198.51.100.7"),
        ("192.0.2.0/24, 10.0.0.1", "192.0.2.9", "203.0.113.5, 198.51.100.7, 10.0.0.1", "198.51.100.7"),
        ("192.0.2.0/24", "203.0.113.9", "198.51.100.7", "203.0.113.9"),
    ],
)
def test_an_address_is_taken_from_a_header_only_of_a_trusted_proxy(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    trusted: str,
    peer: str,
    forwarded: str,
    address: str,
) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", trusted)
    get_settings.cache_clear()
    app = RequestIds(ClientAddress(_tell_address))
    client = TestClient(app, client=(peer, 5000))
    assert client.get("/", headers={"X-Forwarded-For": forwarded}).text == address


def test_a_trusted_proxy_that_is_no_address_is_refused_when_the_process_starts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", "*")
    get_settings.cache_clear()
    with pytest.raises(ValueError, match="no address and no network"):
        get_settings()


def test_what_a_rerun_of_a_page_leaves_has_one_id_and_the_next_another(consortium: Consortium) -> None:
    patients = [consortium.add_patient("northeast", "Ada", name) for name in ("One", "Two")]
    app = opened(consortium, "doctor").run()
    app = app.switch_page("../pages/patient.py").run()
    seen: list[set[str | None]] = []
    for patient in patients:
        app.query_params["patient"] = str(patient)
        app = app.run()
        assert not app.exception and not app.error
        with consortium.site("northeast") as site:
            ids = set(site.scalars(select(AccessEvent.request_id).where(AccessEvent.patient_id == patient)))
        seen.append(ids - set().union(*seen))
    assert [len(ids) for ids in seen] == [1, 1]
    assert all(MADE_HERE.fullmatch(each or "") for ids in seen for each in ids)
    assert current_request_id() is None


def test_a_page_that_is_refused_leaves_an_id(consortium: Consortium) -> None:
    opened(consortium, "nurse", "pages/audit.py").run()
    with consortium.central() as central:
        refusal = central.scalars(select(AuditEvent).where(AuditEvent.outcome == "refused")).one()
    assert MADE_HERE.fullmatch(refusal.request_id or "")
