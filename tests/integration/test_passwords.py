"""Passwords: which are accepted, changing one's own, and one-time links that work once for a day."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.actor import Actor
from app.auth.one_time_link import USELESS, choose_password, link_holder
from app.auth.own_password import change_own_password
from app.auth.password_rules import check_new_password
from app.auth.passwords import check_password
from app.auth.sessions import open_session, sha256
from app.auth.sign_in import verify_credentials
from app.databases import central_session
from app.errors import Conflict, InvalidInput, NotFound, SignInRefused
from app.services import one_time_links
from db.accounts import OneTimeLink
from db.central import AuditEvent, Institution, MedicalWorker, Session
from db.states import SessionEnd
from tests.integration.conftest import PASSWORD, PEOPLE, Consortium

NURSE = PEOPLE["nurse"][0]
GOOD = "seven otters juggle"
PAUL = MedicalWorker(
    email="paul.lindqvist@harbourlight.example",
    name="Paul Lindqvist",
    institution=Institution(code="northeast", name="Harbour Light Hospital"),
)


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("short words", "too short"),
        ("   short   words   "[:14], "too short"),
        ("", "too short"),
        ("ü" * 37, "too long"),
        ("x" * 73, "too long"),
        ("seven otters\tjuggle", "cannot be typed"),
        ("seven otters \ud800 juggle", "cannot be kept"),
        ("1qaz2wsx3edc4rfv", "most common"),
        ("JustinBieber", "most common"),
        ("fedcost-demo", "most common"),
        ("password1234", "most common"),
        ("password12345!", "easy to guess"),
        ("aaaaaaaaaaaaaaaaaaaa", "easy to guess"),
        ("abcabcabcabcabc", "easy to guess"),
        ("qwertyuiopasdf", "easy to guess"),
        ("198403121984", "easy to guess"),
        ("paul.lindqvist@harbourlight.example", "your name"),
        ("My-LINDQVIST-words-3", "your name"),
        ("I am Paul, seven otters", "your name"),
        ("seven harbourlight otters", "your name"),
        ("Harbour Light Hospital 7", "your name"),
        ("northeast otters juggle", "your name"),
    ],
)
def test_a_weak_password_is_refused_with_a_sentence_that_does_not_repeat_it(password: str, says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_new_password(password, worker=PAUL)
    [problem] = refused.value.problems
    assert problem.field == "new_password"
    assert says in problem.message
    assert not password.strip() or password not in problem.message


@pytest.mark.parametrize("password", [GOOD, "Vq7!mB2#xK9d", "grüne Otter jonglieren", "Vq7!mB2#xK9d" * 2])
def test_a_good_password_is_accepted(password: str) -> None:
    check_new_password(password, worker=PAUL)


def _signs_in(password: str) -> bool:
    try:
        with central_session() as central:
            verify_credentials(central, email=NURSE, password=password)
    except SignInRefused:
        return False
    return True


def _change(actor: Actor, present: str, new: str) -> None:
    with central_session() as central:
        change_own_password(central, actor=actor, present=present, new=new)


def _actions(world: Consortium) -> list[tuple[str, str]]:
    with world.central() as central:
        query = select(AuditEvent.action, AuditEvent.outcome).order_by(AuditEvent.id)
        return [(action, outcome) for action, outcome in central.execute(query)]


def test_a_changed_password_ends_every_session_and_the_new_one_signs_in(consortium: Consortium) -> None:
    with central_session() as central:
        for _ in range(2):
            open_session(central, worker=consortium.workers["nurse"])
        open_session(central, worker=consortium.workers["doctor"])
    _change(consortium.actors["nurse"], f" {PASSWORD} ", GOOD)
    with consortium.central() as central:
        assert sorted(str(reason) for reason in central.scalars(select(Session.end_reason))) == [
            "None",
            SessionEnd.PASSWORD_CHANGED,
            SessionEnd.PASSWORD_CHANGED,
        ]
        changed = central.scalar(
            select(MedicalWorker.password_changed_at).where(MedicalWorker.email == NURSE)
        )
        assert changed is not None
        details = central.scalars(select(AuditEvent.details)).all()
        assert GOOD not in str(details) and PASSWORD not in str(details)
    assert _actions(consortium) == [("password_changed", "ok")]
    assert not _signs_in(PASSWORD)
    assert _signs_in(GOOD)


@pytest.mark.parametrize(
    ("present", "new", "field"),
    [
        ("not the one", GOOD, "present_password"),
        ("", GOOD, "present_password"),
        (PASSWORD, "short", "new_password"),
        (PASSWORD, PASSWORD, "new_password"),
    ],
)
def test_a_change_that_is_refused_changes_nothing(
    consortium: Consortium, present: str, new: str, field: str
) -> None:
    with central_session() as central:
        open_session(central, worker=consortium.workers["nurse"])
    with pytest.raises(InvalidInput) as refused:
        _change(consortium.actors["nurse"], present, new)
    assert [problem.field for problem in refused.value.problems] == [field]
    with consortium.central() as central:
        assert central.scalars(select(Session.end_reason)).all() == [None]
    assert _signs_in(PASSWORD)


def test_a_found_browser_does_not_allow_any_number_of_guesses(consortium: Consortium) -> None:
    actor = consortium.actors["nurse"]
    for _ in range(5):
        with pytest.raises(InvalidInput):
            _change(actor, "wrong", GOOD)
    with pytest.raises(InvalidInput, match="closed for some minutes"):
        _change(actor, PASSWORD, GOOD)
    assert _actions(consortium) == [("password_changed", "refused")] * 6


def _link(world: Consortium, person: str = "nurse", by: str = "manager") -> str:
    with central_session() as central:
        link = one_time_links.make_link(
            central=central, actor=world.actors[by], worker_id=world.workers[person].id
        )
    assert link.path.startswith("/set_password#")
    return link.path.partition("#")[2]


def _choose(token: str, password: str = GOOD) -> str:
    with central_session() as central:
        return choose_password(central, token=token, password=password, address="192.0.2.9")


def test_a_link_sets_the_password_once_and_opens_a_closed_account(consortium: Consortium) -> None:
    for _ in range(5):
        assert not _signs_in("wrong")
    with central_session() as central:
        open_session(central, worker=consortium.workers["nurse"])
    token = _link(consortium)
    assert len(token) >= 43, "256 bits"
    with central_session() as central:
        holder = link_holder(central, token=token)
    assert (holder.email, holder.name) == (NURSE, "The nurse")
    assert _choose(token) == NURSE
    assert _signs_in(GOOD), "the wait after wrong passwords is over"
    assert not _signs_in(PASSWORD)
    with pytest.raises(NotFound, match="does not work any more"):
        _choose(token, "another good password")
    with pytest.raises(NotFound), central_session() as central:
        link_holder(central, token=token)
    with consortium.central() as central:
        stored = central.scalars(select(OneTimeLink)).one()
        assert stored.token_sha256 == sha256(token) and token not in repr(vars(stored))
        assert stored.created_by == consortium.workers["manager"].id
        assert central.scalars(select(Session.end_reason)).all() == [SessionEnd.PASSWORD_CHANGED]
    kept = [event for event in _actions(consortium) if event[0] != "sign_in"]
    assert kept == [("reset_link_made", "ok"), ("reset_link_used", "ok")]


def test_a_refused_password_leaves_the_link_alive(consortium: Consortium) -> None:
    token = _link(consortium)
    for weak in ("short", "password12345!"):
        with pytest.raises(InvalidInput):
            _choose(token, weak)
    assert _choose(token) == NURSE


def test_a_later_link_ends_the_earlier_and_a_day_ends_both(consortium: Consortium) -> None:
    first, second = _link(consortium), _link(consortium)
    other = _link(consortium, "doctor")
    with pytest.raises(NotFound):
        _choose(first)
    with consortium.central() as central:
        alive = central.scalars(
            select(OneTimeLink).where(OneTimeLink.ended_at.is_(None), OneTimeLink.used_at.is_(None))
        ).all()
        assert len(alive) == 2
        lifetimes = {link.expires_at - link.created_at for link in alive}
        assert all(
            timedelta(hours=23, minutes=59) < each <= timedelta(hours=24, minutes=1) for each in lifetimes
        )
        central.execute(
            update(OneTimeLink)
            .where(OneTimeLink.token_sha256 == sha256(second))
            .values(expires_at=func.now() - timedelta(seconds=1))
        )
        central.commit()
    with pytest.raises(NotFound):
        _choose(second)
    assert _choose(other) == PEOPLE["doctor"][0]


def test_of_many_who_open_a_link_at_once_one_chooses(consortium: Consortium) -> None:
    token = _link(consortium)
    passwords = [f"{GOOD} number {place}" for place in range(4)]

    def attempt(password: str) -> str | None:
        try:
            return _choose(token, password) and password
        except NotFound as error:
            assert str(error) == USELESS
            return None

    with ThreadPoolExecutor(4) as pool:
        chosen = [password for password in pool.map(attempt, passwords) if password]
    assert len(chosen) == 1
    with consortium.central() as central:
        hashed = central.scalar(select(MedicalWorker.password_hash).where(MedicalWorker.email == NURSE))
    assert check_password(chosen[0], hashed)


def test_of_many_links_made_at_once_one_is_alive(consortium: Consortium) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: _link(consortium), range(4)))
    with consortium.central() as central:
        alive = select(func.count()).where(OneTimeLink.ended_at.is_(None), OneTimeLink.used_at.is_(None))
        assert central.scalar(alive) == 1


def test_a_deactivated_account_gets_no_link_and_loses_the_one_it_has(consortium: Consortium) -> None:
    token = _link(consortium)
    with consortium.central() as central:
        central.execute(update(MedicalWorker).where(MedicalWorker.email == NURSE).values(is_active=False))
        central.commit()
    with pytest.raises(NotFound):
        _choose(token)
    with pytest.raises(Conflict, match="deactivated"):
        _link(consortium)


@pytest.mark.parametrize("token", ["", "nonsense", "\x00", "ü" * 500])
def test_a_made_up_link_opens_nothing(consortium: Consortium, token: str) -> None:
    with pytest.raises(NotFound), central_session() as central:
        link_holder(central, token=token)
    with pytest.raises(NotFound):
        _choose(token)


def test_without_a_password_nobody_signs_in(consortium: Any) -> None:
    with consortium.central() as central:
        central.execute(update(MedicalWorker).where(MedicalWorker.email == NURSE).values(password_hash=None))
        central.commit()
    for attempt in ("", "-", "None", PASSWORD):
        assert not _signs_in(attempt)
    with pytest.raises(InvalidInput, match="one-time link"):
        _change(consortium.actors["nurse"], "", GOOD)
