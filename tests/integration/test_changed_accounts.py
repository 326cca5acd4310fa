"""Whoever changes an account, by hand in SQL too, ends its sessions, tokens and links in the same transaction."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text

from db.accounts import OneTimeLink
from db.central import Session
from db.states import SessionEnd
from tests.integration.conftest import PASSWORD, PEOPLE
from tests.integration.page_scripts import opened

NURSE = PEOPLE["nurse"][0]
# What somebody may do at the database's own prompt, and what is said of the sessions.
CHANGES = {
    "role = 'doctor'": SessionEnd.ROLE_CHANGED,
    "institution_id = (SELECT id FROM institutions WHERE code = 'southwest')": SessionEnd.INSTITUTION_CHANGED,
    "is_active = false": SessionEnd.DEACTIVATED,
    "password_hash = 'another'": SessionEnd.PASSWORD_CHANGED,
    "password_hash = NULL": SessionEnd.PASSWORD_CHANGED,
}
# What says nothing about who may do what.
HARMLESS = ("name = 'Another Name'", "failed_attempts = 3", "last_seen_at = now()", "role = role")


def _by_hand(world: Any, assignment: str, email: str = NURSE) -> None:
    with world.central() as central:
        central.execute(
            text(f"UPDATE medical_workers SET {assignment} WHERE email = :email"), {"email": email}
        )
        central.commit()


def _reasons(world: Any, person: str) -> list[str | None]:
    with world.central() as central:
        return list(
            central.scalars(select(Session.end_reason).where(Session.worker_id == world.workers[person].id))
        )


@pytest.mark.parametrize(("assignment", "reason"), CHANGES.items(), ids=[str(r) for r in CHANGES.values()])
def test_a_change_ends_every_session_and_token_at_the_next_request(
    consortium: Any, api: TestClient, assignment: str, reason: SessionEnd
) -> None:
    def sign_in() -> dict[str, Any]:
        body: dict[str, Any] = api.post("/auth/login", json={"email": NURSE, "password": PASSWORD}).json()
        return body

    clients = [sign_in(), sign_in()]
    browser = opened(consortium, "nurse").run()
    bystander = opened(consortium, "doctor").run()
    assert browser.sidebar
    _by_hand(consortium, assignment)
    for client in clients:
        headers = {"Authorization": f"Bearer {client['access_token']}"}
        assert api.get("/model/status", headers=headers).status_code == 401
        assert api.post("/auth/refresh", json={"refresh_token": client["refresh_token"]}).status_code == 401
    assert [field.label for field in browser.run().text_input] == ["E-mail", "Password"]
    assert not bystander.run().text_input
    assert _reasons(consortium, "nurse") == [reason] * 3
    assert _reasons(consortium, "doctor") == [None]


@pytest.mark.parametrize("assignment", HARMLESS)
def test_other_changes_end_nothing(consortium: Any, assignment: str) -> None:
    browser = opened(consortium, "nurse").run()
    _by_hand(consortium, assignment)
    assert not browser.run().text_input
    assert _reasons(consortium, "nurse") == [None]


def test_a_change_that_is_rolled_back_ends_nothing(consortium: Any) -> None:
    browser = opened(consortium, "nurse").run()
    with consortium.central() as central:
        central.execute(text("UPDATE medical_workers SET is_active = false"))
        central.rollback()
    assert not browser.run().text_input


def test_a_new_password_and_switching_off_end_the_link_too(consortium: Any) -> None:
    def make_link() -> None:
        with consortium.central() as central:
            central.execute(text("UPDATE one_time_links SET ended_at = now() WHERE ended_at IS NULL"))
            central.execute(
                text(
                    "INSERT INTO one_time_links (worker_id, token_sha256, expires_at) SELECT id, "
                    "md5(random()::text), now() + interval '1 day' FROM medical_workers WHERE email = :email"
                ),
                {"email": NURSE},
            )
            central.commit()

    for assignment, ended in (
        ("password_hash = 'another'", True),
        ("role = 'doctor'", False),
        ("is_active = false", True),
    ):
        make_link()
        _by_hand(consortium, assignment)
        with consortium.central() as central:
            newest = central.scalars(select(OneTimeLink).order_by(OneTimeLink.id.desc())).first()
            assert newest is not None
            assert (newest.ended_at is not None) == ended, assignment
