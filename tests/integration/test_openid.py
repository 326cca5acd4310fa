"""Sign-in through an OpenID Connect provider: which identity opens a session, and which answers are refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt as jose
from joserfc.jwk import OctKey
from sqlalchemy import select, update

from app.auth.openid import NOT_VERIFIED, UNKNOWN, identity_of, sign_in_as, was_used
from app.auth.openid_settings import OpenIdSettings, openid_settings, streamlit_secrets
from app.auth.sessions import actor_for_session
from app.databases import central_session
from app.errors import SignInRefused
from app.settings import PROJECT_ROOT
from db.central import AuditEvent, MedicalWorker, Session
from db.ports import free_port
from tests.integration.conftest import PEOPLE, Consortium
from tests.openid_provider import CLIENT_ID, CLIENT_SECRET, Provider, started_provider

NURSE = PEOPLE["nurse"][0]
COOKIE_SECRET = "signs what Streamlit keeps in the browser"


@pytest.fixture
def with_provider(consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {
        "OPENID_METADATA_URL": "https://provider.example/.well-known/openid-configuration",
        "OPENID_CLIENT_ID": CLIENT_ID,
        "OPENID_CLIENT_SECRET": CLIENT_SECRET,
        "PUBLIC_URL": "https://fedcost.example/",
    }.items():
        monkeypatch.setenv(name, value)
    openid_settings.cache_clear()
    yield
    openid_settings.cache_clear()


def _claims(**changed: Any) -> dict[str, Any]:
    claims = {
        "is_logged_in": True,
        "iss": "https://provider.example",
        "sub": "1",
        "aud": CLIENT_ID,
        "iat": int(datetime.now(UTC).timestamp()),
        "nonce": "n",
        "email": NURSE,
        "email_verified": True,
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


def _sign_in(**changed: Any) -> Any:
    identity = identity_of(_claims(**changed))
    assert identity is not None
    with central_session() as central:
        session = sign_in_as(central, identity=identity, address="192.0.2.3", user_agent="a browser")
        return session.id


def _kept(world: Consortium) -> list[tuple[str, str, int | None, dict[str, Any]]]:
    with world.central() as central:
        query = select(
            AuditEvent.action, AuditEvent.outcome, AuditEvent.worker_id, AuditEvent.details
        ).order_by(AuditEvent.id)
        return [tuple(row) for row in central.execute(query)]  # type: ignore[misc]


def test_a_verified_address_opens_a_session_of_that_account(
    with_provider: None, consortium: Consortium
) -> None:
    session_id = _sign_in(email=f" {NURSE.upper()}")
    with central_session() as central:
        assert actor_for_session(central, session_id=session_id).email == NURSE
    nurse = consortium.workers["nurse"].id
    assert _kept(consortium) == [("sign_in", "ok", nurse, {"through": "openid"})]


@pytest.mark.parametrize("verified", [False, None, "true", 1])
def test_an_address_that_is_not_verified_opens_nothing(
    with_provider: None, consortium: Consortium, verified: Any
) -> None:
    with pytest.raises(SignInRefused) as refused:
        _sign_in(email_verified=verified)
    assert str(refused.value) == NOT_VERIFIED
    [(_, outcome, _, details)] = _kept(consortium)
    assert (outcome, details["reason"]) == ("refused", "not_verified")


def test_an_unknown_and_a_deactivated_account_are_refused_and_kept(
    with_provider: None, consortium: Consortium
) -> None:
    with consortium.central() as central:
        central.execute(update(MedicalWorker).where(MedicalWorker.email == NURSE).values(is_active=False))
        central.commit()
    for email in (NURSE, "stranger@elsewhere.example", "", "x" * 3000):
        with pytest.raises(SignInRefused) as refused:
            _sign_in(email=email)
        assert str(refused.value) == UNKNOWN
    kept = _kept(consortium)
    assert [row[1] for row in kept] == ["refused"] * 4
    assert "stranger" not in str(kept)
    with consortium.central() as central:
        assert central.scalars(select(Session)).all() == []


def test_an_identity_opens_one_session_only(with_provider: None, consortium: Consortium) -> None:
    claims = _claims()
    identity = identity_of(claims)
    assert identity is not None

    def attempt(_: int) -> bool:
        try:
            with central_session() as central:
                sign_in_as(central, identity=identity, address=None, user_agent=None)
        except SignInRefused:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, range(4))) == 1
    with central_session() as central:
        assert was_used(central, identity)
        another = identity_of(_claims(nonce="another"))
        assert another is not None and not was_used(central, another)


@pytest.mark.parametrize(
    "changed",
    [
        {"is_logged_in": False},
        {"is_logged_in": None},
        {"aud": "another application"},
        {"aud": None},
        {"iat": int(datetime.now(UTC).timestamp()) - 3600},
        {"iat": int(datetime.now(UTC).timestamp()) + 3600},
        {"iat": "now"},
        {"iat": True},
        {"iss": None},
        {"sub": None},
        {"nonce": None},
    ],
)
def test_what_is_old_or_made_for_others_is_no_identity(with_provider: None, changed: dict[str, Any]) -> None:
    assert identity_of(_claims()) is not None
    assert identity_of(_claims(**changed)) is None


def test_wrong_passwords_do_not_keep_out_whom_the_provider_vouches_for(
    with_provider: None, consortium: Consortium
) -> None:
    with consortium.central() as central:
        central.execute(
            update(MedicalWorker).values(failed_attempts=9, locked_until=datetime(2999, 1, 1, tzinfo=UTC))
        )
        central.commit()
    _sign_in()
    with consortium.central() as central:
        assert central.scalar(select(MedicalWorker.failed_attempts).where(MedicalWorker.email == NURSE)) == 9


def test_the_settings_are_all_there_or_none(with_provider: None, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = streamlit_secrets()
    assert secrets is not None
    assert secrets["auth"]["redirect_uri"] == "https://fedcost.example/oauth2callback"
    for name in ("OPENID_CLIENT_SECRET", "PUBLIC_URL"):
        with monkeypatch.context() as without:
            without.delenv(name)
            with pytest.raises(ValueError, match=name):
                OpenIdSettings()
    for name in ("OPENID_METADATA_URL", "OPENID_CLIENT_ID", "OPENID_CLIENT_SECRET", "PUBLIC_URL"):
        monkeypatch.delenv(name)
    assert not OpenIdSettings().is_on


@pytest.fixture
def web(
    consortium: Consortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[httpx.Client, Provider]]:
    """The served application with a provider on this machine."""
    port = free_port()
    with started_provider() as provider:
        environment = {
            **os.environ,
            "OPENID_METADATA_URL": provider.metadata_url,
            "OPENID_CLIENT_ID": CLIENT_ID,
            "OPENID_CLIENT_SECRET": CLIENT_SECRET,
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            "STREAMLIT_SERVER_COOKIE_SECRET": COOKIE_SECRET,
        }
        log = (tmp_path / "web.log").open("wb")
        command = ("-m", "streamlit", "run", "app/main.py", "--server.address", "127.0.0.1")
        server = subprocess.Popen(
            [sys.executable, *command, "--server.port", str(port)],
            cwd=PROJECT_ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}", timeout=30, follow_redirects=True
            ) as client:
                _wait_until_it_answers(client, server)
                yield client, provider
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
            log.close()


def _wait_until_it_answers(client: httpx.Client, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert server.poll() is None, "the application ended"
        try:
            if client.get("/api/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError("the application did not answer")


def _goes_to_the_provider(client: httpx.Client) -> bool:
    """Follow a press of the button, and tell whether Streamlit then takes the person for signed in."""
    client.cookies.clear()
    claims = {"provider": "default", "exp": int(time.time()) + 60}
    token = jose.encode({"alg": "HS256"}, claims, OctKey.import_key(COOKIE_SECRET))
    answer = client.get("/auth/login", params={"provider": token})
    assert answer.status_code == 200
    assert "client_secret" not in answer.text
    return "_streamlit_user" in client.cookies


def test_answers_of_the_provider_that_are_not_in_order_sign_nobody_in(
    web: tuple[httpx.Client, Provider], tmp_path: Path
) -> None:
    client, provider = web
    provider.behave(NURSE)
    assert _goes_to_the_provider(client), "the good case"
    now = int(time.time())
    for wrong in (
        {"nonce": "another"},
        {"nonce": None},
        {"iss": "https://elsewhere.example"},
        {"exp": now - 600, "iat": now - 900},
        {"sub": None},
    ):
        provider.behave(NURSE, **wrong)
        assert not _goes_to_the_provider(client), wrong
    provider.behave(NURSE)
    provider.sign_with_another_key = True
    assert not _goes_to_the_provider(client), "another key"
    for algorithm in ("none", "HS256"):
        provider.behave(NURSE)
        provider.algorithm = algorithm
        assert not _goes_to_the_provider(client), algorithm
    provider.behave(NURSE)
    provider.refuse = True
    assert not _goes_to_the_provider(client), "the person pressed Cancel there"
    client.cookies.clear()
    provider.behave(NURSE)
    forged = client.get("/oauth2callback", params={"code": "made-up", "state": "made-up"})
    assert forged.status_code == 200 and "_streamlit_user" not in client.cookies
    said = (tmp_path / "web.log").read_text()
    assert CLIENT_SECRET not in said and NURSE not in said
