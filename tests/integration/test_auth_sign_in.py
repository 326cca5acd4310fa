"""Signing in: lockout, equal answers, switched-off accounts, sessions, tickets and tokens."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import bcrypt
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update

from app.auth import passwords, sessions, sign_in
from app.auth.passwords import hash_password
from app.auth.sign_in import REFUSAL, verify_credentials
from app.databases import central_session
from app.errors import SessionEnded, SignInRefused
from app.settings import get_settings
from db.central import AuditEvent, MedicalWorker, Session
from db.states import Role, SessionKind
from tests.quick_passwords import usual_salt

EMAIL = "nurse@northeast.test.local"


def _try(email: str, password: str) -> bool:
    try:
        with central_session() as central:
            verify_credentials(central, email=email, password=password, address="192.0.2.7")
    except SignInRefused as refused:
        assert str(refused) == REFUSAL
        return False
    return True


def _attempts(world: Any) -> tuple[int, float | None]:
    """Return the nurse's failed attempts, and the seconds for which the account is locked."""
    wait = func.extract("epoch", MedicalWorker.locked_until - func.now())
    with world.central() as central:
        row = central.execute(
            select(MedicalWorker.failed_attempts, wait).where(MedicalWorker.email == EMAIL)
        ).one()
    return row[0], None if row[1] is None else float(row[1])


def _let_the_wait_pass(world: Any) -> None:
    with world.central() as central:
        central.execute(update(MedicalWorker).values(locked_until=func.now() - timedelta(seconds=1)))
        central.commit()


def test_the_right_password_lets_in_and_clears_the_failures(consortium: Any) -> None:
    assert not _try(EMAIL, "wrong")
    assert _attempts(consortium) == (1, None)
    assert _try(f"  {EMAIL.upper()} ", f" {consortium.password} ")
    assert _attempts(consortium) == (0, None)


def test_the_fifth_wrong_password_locks_and_each_further_one_doubles_the_wait(consortium: Any) -> None:
    for _ in range(5):
        assert not _try(EMAIL, "wrong")
    failed, wait = _attempts(consortium)
    assert failed == 5
    assert wait is not None
    assert 55 < wait <= 60
    assert not _try(EMAIL, consortium.password), "locked, even with the right password"
    assert _attempts(consortium)[0] == 5, "what is tried while locked does not count"
    for expected in (120, 240, 480, 900, 900, 900):
        _let_the_wait_pass(consortium)
        assert not _try(EMAIL, "wrong")
        wait = _attempts(consortium)[1]
        assert wait is not None
        assert expected - 5 < wait <= expected
    _let_the_wait_pass(consortium)
    assert _try(EMAIL, consortium.password)


def test_many_passwords_at_once_get_no_more_than_five_tries(consortium: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: _try(EMAIL, "wrong"), range(16)))
    assert not any(results)
    assert _attempts(consortium)[0] == 5
    assert not _try(EMAIL, consortium.password)


def test_a_switched_off_worker_is_refused_with_the_same_sentence(consortium: Any) -> None:
    with consortium.central() as central:
        central.execute(update(MedicalWorker).where(MedicalWorker.email == EMAIL).values(is_active=False))
        central.commit()
    assert not _try(EMAIL, consortium.password)


@pytest.fixture
def of_usual_cost(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Passwords are hashed at the cost that the product has."""
    monkeypatch.setattr(bcrypt, "gensalt", usual_salt)
    passwords._hash_of_nobody.cache_clear()
    yield
    passwords._hash_of_nobody.cache_clear()


def test_every_kind_of_refusal_takes_the_same_time(consortium: Any, of_usual_cost: None) -> None:
    def change(person: str, **values: Any) -> str:
        email = consortium.workers[person].email
        with consortium.central() as central:
            central.execute(update(MedicalWorker).where(MedicalWorker.email == email).values(**values))
            central.commit()
        return str(email)

    hashed = hash_password("one of today's cost")
    assert hashed.startswith("$2b$12$")
    with consortium.central() as central:
        central.execute(update(MedicalWorker).values(password_hash=hashed))
        central.commit()
    kinds = {
        "unknown": "nobody@test.local",
        "known": consortium.workers["admin"].email,
        "locked": change("nurse", locked_until=datetime.now(UTC) + timedelta(hours=1)),
        "deactivated": change("scientist", is_active=False),
        "without a password": change("manager", password_hash=None),
    }

    def seconds(email: str) -> float:
        began = time.perf_counter()
        assert not _try(email, "wrong")
        return time.perf_counter() - began

    seconds("warm@test.local")
    took: dict[str, list[float]] = {kind: [] for kind in kinds}

    def parts_of_the_usual() -> list[float]:
        """Compare the shortest times: what else the machine does only adds to them."""
        return [min(each) / min(took["unknown"]) for each in took.values()]

    for number in range(6):
        for kind, email in kinds.items():
            took[kind].append(seconds(email))
        if number > 0 and all(0.7 < part < 1.4 for part in parts_of_the_usual()):
            break  # more of them would only bring the shortest times closer together
    assert all(0.6 < part < 1.6 for part in parts_of_the_usual()), took


def test_refused_and_accepted_sign_ins_are_kept(consortium: Any) -> None:
    _try(EMAIL, "wrong")
    _try("nobody@test.local", "wrong")
    _try(EMAIL, consortium.password)
    with consortium.central() as central:
        kept = central.execute(
            select(AuditEvent.worker_id, AuditEvent.outcome, AuditEvent.address).order_by(AuditEvent.id)
        ).all()
    nurse = consortium.workers["nurse"].id
    assert [tuple(row) for row in kept] == [
        (nurse, "refused", "192.0.2.7"),
        (None, "refused", "192.0.2.7"),
        (nurse, "ok", "192.0.2.7"),
    ]


def _open(world: Any, person: str = "nurse", lifetime: timedelta | None = None) -> tuple[uuid.UUID, str]:
    with central_session() as central:
        session, secret = sessions.open_session(
            central, worker=world.workers[person], user_agent="a\x00browser", lifetime=lifetime
        )
        return session.id, secret


def _actor(session_id: uuid.UUID) -> Any:
    with central_session() as central:
        return sessions.actor_for_session(central, session_id=session_id)


def test_a_session_says_who_it_is_from_the_database(consortium: Any) -> None:
    session_id, secret = _open(consortium)
    actor = _actor(session_id)
    assert (actor.email, actor.role, actor.institution_code) == (EMAIL, Role.NURSE, "northeast")
    with central_session() as central:
        assert sessions.actor_for_token(central, secret=secret) == actor
        stored = central.get_one(Session, session_id)
        assert secret not in repr(vars(stored)), "the database holds only the secret's SHA-256"


def test_an_ended_expired_or_switched_off_session_is_refused(consortium: Any) -> None:
    ended, secret = _open(consortium)
    with central_session() as central:
        sessions.sign_out(central, actor=sessions.actor_for_session(central, session_id=ended))
    expired, _ = _open(consortium, lifetime=timedelta(seconds=-1))
    off, _ = _open(consortium)
    with consortium.central() as central:
        central.execute(update(MedicalWorker).where(MedicalWorker.email == EMAIL).values(is_active=False))
        central.commit()
    for session_id in (ended, expired, off, uuid.uuid4()):
        with pytest.raises(SessionEnded):
            _actor(session_id)
    with pytest.raises(SessionEnded), central_session() as central:
        sessions.actor_for_token(central, secret=secret)


def test_a_ticket_is_traded_once(consortium: Any) -> None:
    session_id, first_secret = _open(consortium)
    with central_session() as central:
        ticket = sessions.issue_ticket(central, session_id=session_id, browser="this browser")
    with central_session() as central:
        session, secret = sessions.redeem_ticket(central, ticket=ticket, browser="this browser")
        assert session.id == session_id
    for stale in (ticket, "unknown"):
        with pytest.raises(SessionEnded), central_session() as central:
            sessions.redeem_ticket(central, ticket=stale, browser="this browser")
    with central_session() as central:
        assert sessions.actor_for_token(central, secret=secret).email == EMAIL
        with pytest.raises(SessionEnded):
            sessions.actor_for_token(central, secret=first_secret)


def test_a_ticket_lasts_a_minute_and_not_longer_than_its_session(consortium: Any) -> None:
    late, _ = _open(consortium)
    over, _ = _open(consortium)
    with central_session() as central:
        late_ticket = sessions.issue_ticket(central, session_id=late, browser="b")
        over_ticket = sessions.issue_ticket(central, session_id=over, browser="b")
    with central_session() as central:
        central.execute(
            update(Session).where(Session.id == late).values(ticket_expires_at=func.now() - timedelta(1))
        )
        sessions.sign_out(central, actor=sessions.actor_for_session(central, session_id=over))
    for ticket in (late_ticket, over_ticket):
        with pytest.raises(SessionEnded), central_session() as central:
            sessions.redeem_ticket(central, ticket=ticket, browser="b")


@pytest.mark.parametrize("made_for", ["the browser that signed in", None])
def test_a_ticket_is_worth_nothing_in_another_browser(consortium: Any, made_for: str | None) -> None:
    """Else who has signed in could have somebody else's browser trade the ticket, and read what they enter there."""
    session_id, _ = _open(consortium)
    with central_session() as central:
        ticket = sessions.issue_ticket(central, session_id=session_id, browser=made_for)
    for other in ("another browser", "", None):
        with pytest.raises(SessionEnded), central_session() as central:
            sessions.redeem_ticket(central, ticket=ticket, browser=other)
    if made_for is not None:
        with central_session() as central:
            assert sessions.redeem_ticket(central, ticket=ticket, browser=made_for)[0].id == session_id


def _last_seen(world: Any, session_id: uuid.UUID, ago: timedelta) -> None:
    with world.central() as central:
        central.execute(update(Session).where(Session.id == session_id).values(last_seen_at=func.now() - ago))
        central.commit()


def test_a_browser_session_ends_when_nobody_acts_and_one_of_the_api_does_not(consortium: Any) -> None:
    limit = timedelta(minutes=get_settings().session_idle_minutes)
    browser, _ = _open(consortium)
    with central_session() as central:
        program, _ = sessions.open_session(central, worker=consortium.workers["nurse"], kind=SessionKind.API)
        program_id = program.id
    _last_seen(consortium, browser, limit - timedelta(minutes=1))
    with central_session() as central:  # a page that only redraws itself
        sessions.actor_for_session(central, session_id=browser, person_acts=False)
    _last_seen(consortium, browser, limit + timedelta(seconds=1))
    _last_seen(consortium, program_id, limit + timedelta(seconds=1))
    with pytest.raises(SessionEnded):
        _actor(browser)
    assert _actor(program_id).email == EMAIL


def test_acting_is_noted_at_most_once_a_minute_and_a_timer_does_not_count(consortium: Any) -> None:
    session_id, _ = _open(consortium)

    def seen() -> Any:
        with consortium.central() as central:
            return central.get_one(Session, session_id).last_seen_at

    first = seen()
    _actor(session_id)
    assert seen() == first
    _last_seen(consortium, session_id, timedelta(minutes=2))
    before = seen()
    with central_session() as central:
        sessions.actor_for_session(central, session_id=session_id, person_acts=False)
    assert seen() == before
    _actor(session_id)
    assert seen() > before + timedelta(minutes=1)


def test_a_password_that_is_replaced_while_it_is_compared_lets_nobody_in(
    consortium: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = sign_in.check_password

    def replaced_meanwhile(plain: str, hashed: str | None) -> bool:
        with consortium.central() as central:
            central.execute(update(MedicalWorker).values(password_hash="replaced"))
            central.commit()
        return compare(plain, hashed)

    monkeypatch.setattr(sign_in, "check_password", replaced_meanwhile)
    assert not _try(EMAIL, consortium.password)
    with consortium.central() as central:
        assert central.scalars(select(Session)).all() == []


def test_a_session_ended_in_the_database_is_refused_at_the_next_request(
    api: TestClient, token_of: Any, consortium: Any
) -> None:
    headers = token_of("nurse")
    assert api.get("/patients", headers=headers).status_code == 200
    with consortium.central() as central:
        central.execute(update(Session).values(ended_at=func.now()))
        central.commit()
    refused = api.get("/patients", headers=headers)
    assert (refused.status_code, refused.json()["detail"]) == (
        401,
        "Your session has ended. Please sign in again.",
    )
