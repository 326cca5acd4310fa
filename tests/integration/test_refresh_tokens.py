"""Refresh tokens: traded once each, kept as a hash, and a used one ends the session and is kept in the audit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import func, select, update

from app.auth.sessions import sha256
from db.accounts import RefreshToken
from db.central import AuditEvent, MedicalWorker, Session
from db.states import SessionEnd
from tests.integration.conftest import PASSWORD, PEOPLE


def _signed_in(api: TestClient, person: str = "nurse") -> dict[str, Any]:
    answer = api.post("/auth/login", json={"email": PEOPLE[person][0], "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def _refreshed(api: TestClient, token: str) -> Any:
    return api.post("/auth/refresh", json={"refresh_token": token})


def _works(api: TestClient, access_token: str) -> bool:
    return bool(
        api.get("/model/status", headers={"Authorization": f"Bearer {access_token}"}).status_code == 200
    )


def _end_reasons(world: Any) -> list[str | None]:
    with world.central() as central:
        return list(central.scalars(select(Session.end_reason)))


def test_a_refresh_token_gets_the_next_pair(api: TestClient, consortium: Any) -> None:
    first = _signed_in(api)
    assert 0 < first["refresh_expires_in"] <= 12 * 3600
    answer = _refreshed(api, first["refresh_token"])
    assert answer.status_code == 200
    second = answer.json()
    assert second["refresh_token"] != first["refresh_token"]
    assert _works(api, first["access_token"]), "it lives for its 15 minutes"
    assert _works(api, second["access_token"])
    assert second["refresh_expires_in"] <= first["refresh_expires_in"], (
        "refreshing does not prolong a session"
    )
    assert _refreshed(api, second["refresh_token"]).status_code == 200


def test_the_database_holds_only_the_hash(api: TestClient, consortium: Any) -> None:
    token = _signed_in(api)["refresh_token"]
    assert len(token) >= 43, "256 bits"
    with consortium.central() as central:
        stored = central.scalars(select(RefreshToken)).one()
        assert stored.token_sha256 == sha256(token)
        assert token not in repr(vars(stored))


def test_a_used_token_ends_the_session_for_everybody_and_is_kept(api: TestClient, consortium: Any) -> None:
    first = _signed_in(api)
    other = _signed_in(api)
    second = _refreshed(api, first["refresh_token"]).json()
    stolen = _refreshed(api, first["refresh_token"])
    assert stolen.status_code == 401
    assert "used before" in stolen.json()["detail"]
    assert not _works(api, first["access_token"])
    assert not _works(api, second["access_token"])
    assert _refreshed(api, second["refresh_token"]).status_code == 401
    assert _works(api, other["access_token"]), "another session of the same person is another family"
    with consortium.central() as central:
        kept = central.scalars(select(AuditEvent).where(AuditEvent.action == "refresh_token_reused")).all()
        assert [(event.outcome, event.worker_id, event.role) for event in kept] == [
            ("refused", consortium.workers["nurse"].id, "nurse")
        ]
    assert sorted(reason or "" for reason in _end_reasons(consortium)) == ["", SessionEnd.TOKEN_REUSED]


def test_of_two_refreshes_at_once_exactly_one_gets_a_pair_and_the_session_ends(
    api: TestClient, consortium: Any
) -> None:
    for _ in range(4):
        token = _signed_in(api)["refresh_token"]
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(_refreshed, [api] * 6, [token] * 6))
        assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401, 401]
        [winner] = [answer.json() for answer in answers if answer.status_code == 200]
        assert not _works(api, winner["access_token"])
        assert _refreshed(api, winner["refresh_token"]).status_code == 401
    assert set(_end_reasons(consortium)) == {SessionEnd.TOKEN_REUSED}


def test_an_unknown_an_expired_and_a_strange_token_are_refused(api: TestClient, consortium: Any) -> None:
    first = _signed_in(api)
    with consortium.central() as central:
        central.execute(update(RefreshToken).values(expires_at=func.now() - timedelta(seconds=1)))
        central.commit()
    for token in (first["refresh_token"], "unknown", first["access_token"][:100], "ü", ""):
        assert _refreshed(api, token).status_code == 401, token
    assert _refreshed(api, "x" * 101).status_code == 422
    assert api.post("/auth/refresh", json={}).status_code == 422
    assert _works(api, first["access_token"]), "an expired token was not used twice"
    assert _end_reasons(consortium) == [None]


def test_signing_out_ends_the_session_and_all_its_tokens(api: TestClient, consortium: Any) -> None:
    first, other = _signed_in(api), _signed_in(api)
    headers = {"Authorization": f"Bearer {first['access_token']}"}
    assert api.post("/auth/logout", headers=headers).status_code == 204
    assert not _works(api, first["access_token"])
    assert _refreshed(api, first["refresh_token"]).status_code == 401
    assert api.post("/auth/logout", headers=headers).status_code == 401
    assert _works(api, other["access_token"])
    with consortium.central() as central:
        assert central.scalars(select(AuditEvent.action)).all().count("sign_out") == 1


def test_a_switched_off_worker_cannot_refresh(api: TestClient, consortium: Any) -> None:
    first = _signed_in(api)
    with consortium.central() as central:
        central.execute(
            update(MedicalWorker).where(MedicalWorker.email == PEOPLE["nurse"][0]).values(is_active=False)
        )
        central.commit()
    assert _refreshed(api, first["refresh_token"]).status_code == 401
    with consortium.central() as central:
        central.execute(
            update(MedicalWorker).where(MedicalWorker.email == PEOPLE["nurse"][0]).values(is_active=True)
        )
        central.commit()
    assert not _works(api, first["access_token"]), "what has ended does not begin again"
