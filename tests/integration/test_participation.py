"""An institution's administrator decides for the own institution only, and each decision is kept where it belongs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.actor import Actor
from app.databases import central_session, site_session
from app.errors import Conflict, InvalidInput, NotFound, PermissionRefused
from app.permissions import PERMISSIONS, Permission
from app.services import patients
from app.services.participation import (
    ParticipationView,
    change_participation,
    decide_run,
    own_part,
    participation,
)
from db.central import AuditEvent, Institution
from db.site import AccessEvent, Participation, RunApproval
from db.states import Consent, Role
from tests.integration.conftest import Consortium
from tests.integration.institution_facts import add_run, answer_presence, ask_for_approval


@pytest.fixture
def manager(consortium: Consortium) -> Actor:
    return consortium.actors["manager"]


def view(actor: Actor) -> ParticipationView:
    with central_session() as central, site_session(actor) as site:
        return participation(site=site, central=central, actor=actor)


def change(actor: Actor, consent: str, reason: str | None = None) -> None:
    with central_session() as central, site_session(actor) as site:
        change_participation(site=site, central=central, actor=actor, consent=consent, reason=reason)


def decide(actor: Actor, run_id: int, approve: bool, sha256: str) -> None:
    with central_session() as central, site_session(actor) as site:
        decide_run(
            site=site, central=central, actor=actor, run_id=run_id, approve=approve, settings_sha256=sha256
        )


def test_an_institution_takes_part_until_its_administrator_decides_otherwise(manager: Actor) -> None:
    before = view(manager)
    assert (before.decision.consent, before.decision.changed_at) == (Consent.OPEN, None)
    assert (before.waiting, before.decided, before.changes) == ([], [], [])
    change(manager, "paused", "  A new\n database ")
    change(manager, "approval")
    after = view(manager)
    assert (after.decision.consent, after.decision.reason) == (Consent.APPROVAL, None)
    assert after.decision.changed_by_name == "The manager"
    assert [(each.consent, each.reason, each.by_name) for each in after.changes] == [
        (Consent.APPROVAL, None, "The manager"),
        (Consent.PAUSED, "A new database", "The manager"),
    ]


def test_a_change_is_kept_at_the_site_and_in_the_audit_and_its_reason_stays_at_the_site(
    consortium: Consortium, manager: Actor
) -> None:
    change(manager, "paused", "The ward moves")
    with consortium.site("northeast") as site:
        kept = site.scalars(select(AccessEvent)).one()
        row = site.scalars(select(Participation)).one()
    assert (kept.worker_id, kept.action, kept.address) == (
        manager.worker_id,
        "participation_changed",
        "192.0.2.1",
    )
    assert (row.consent, row.reason, row.changed_by) == ("paused", "The ward moves", manager.worker_id)
    with consortium.central() as central:
        audited = central.scalars(select(AuditEvent)).one()
    assert (audited.worker_id, audited.action, audited.target) == (
        manager.worker_id,
        "participation_changed",
        "institution northeast",
    )
    assert audited.details == {"consent": "paused"}


@pytest.mark.parametrize(
    ("consent", "reason", "field"),
    [
        ("paused", None, "reason"),
        ("paused", "  ", "reason"),
        ("never", "x", "consent"),
        ("open", "x" * 501, "reason"),
    ],
)
def test_a_change_that_cannot_be_is_refused_and_nothing_is_kept(
    consortium: Consortium, manager: Actor, consent: str, reason: str | None, field: str
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        change(manager, consent, reason)
    assert [problem.field for problem in refusal.value.problems] == [field]
    assert view(manager).changes == []


def test_runs_wait_are_approved_and_refused_and_a_decision_stands(
    consortium: Consortium, manager: Actor
) -> None:
    first = ask_for_approval(consortium, "northeast", 5)
    second = ask_for_approval(consortium, "northeast", 6, num_rounds=50)
    assert [each.run_id for each in view(manager).waiting] == [6, 5]
    decide(manager, 5, True, first)
    decide(manager, 6, False, second)
    after = view(manager)
    assert after.waiting == []
    assert [(each.run_id, each.decision, each.decided_by_name) for each in after.decided] == [
        (6, "refused", "The manager"),
        (5, "approved", "The manager"),
    ]
    with pytest.raises(Conflict, match="already approved by The manager"):
        decide(manager, 5, False, first)
    with consortium.site("northeast") as site:
        events = site.scalars(select(AccessEvent).order_by(AccessEvent.id)).all()
    assert [(each.action, each.details["run_id"], each.details["decision"]) for each in events] == [
        ("run_approval_decided", 5, "approved"),
        ("run_approval_decided", 6, "refused"),
    ]
    with consortium.central() as central:
        targets = central.scalars(select(AuditEvent.target).order_by(AuditEvent.id)).all()
    assert targets == ["run 5", "run 6"]


def test_nobody_approves_settings_that_they_have_not_seen(consortium: Consortium, manager: Actor) -> None:
    seen = ask_for_approval(consortium, "northeast", 5)
    with consortium.site("northeast") as site:
        site.get_one(RunApproval, 5).settings_sha256 = "b" * 64
        site.commit()
    with pytest.raises(Conflict, match="asks for other settings now"):
        decide(manager, 5, True, seen)
    assert [each.decision for each in view(manager).waiting] == ["waiting"]


def test_a_run_that_ended_meanwhile_waits_no_longer(consortium: Consortium, manager: Actor) -> None:
    going_on, over = add_run(consortium, {}, status="training"), add_run(consortium, {})
    for run_id in (going_on, over):
        sha256 = ask_for_approval(consortium, "northeast", run_id)
    after = view(manager)
    assert [each.run_id for each in after.waiting] == [going_on]
    assert [(each.run_id, each.decision) for each in after.decided] == [(over, "missed")]
    with pytest.raises(Conflict, match="has ended"):
        decide(manager, over, True, sha256)


@pytest.mark.parametrize("run_id", [0, 99, 2**40])
def test_a_run_that_has_not_asked_cannot_be_approved(manager: Actor, run_id: int) -> None:
    with pytest.raises(NotFound):
        decide(manager, run_id, True, "c" * 64)


@pytest.mark.parametrize("person", ["admin", "scientist", "doctor", "nurse", "other_doctor"])
def test_nobody_else_decides_or_reads_what_was_decided(consortium: Consortium, person: str) -> None:
    """Not even with the right database: the role is asked before it."""
    actor = consortium.actors[person]
    assert Permission.PARTICIPATION not in PERMISSIONS[actor.role]
    with central_session() as central, consortium.site("northeast") as site:
        given: dict[str, object] = {"site": site, "central": central, "actor": actor}
        with pytest.raises(PermissionRefused):
            change_participation(**given, consent="paused", reason="x")  # type: ignore[arg-type]
        with pytest.raises(PermissionRefused):
            decide_run(**given, run_id=1, approve=True, settings_sha256="")  # type: ignore[arg-type]
        with pytest.raises(PermissionRefused):
            participation(**given)  # type: ignore[arg-type]
        with pytest.raises(PermissionRefused):
            own_part(central=central, actor=actor)


def test_an_administrator_reaches_the_own_site_only_and_sees_no_patient(
    consortium: Consortium, manager: Actor, northeast: Session
) -> None:
    consortium.add_patient("northeast", "Ada", "Lovelace")
    ask_for_approval(consortium, "southwest", 5)
    change(manager, "paused", "Ours")
    assert view(manager).waiting == []
    with consortium.site("southwest") as site:
        assert site.scalars(select(Participation)).all() == []
    other = replace(manager, institution_code="southwest", institution_name="Southwest Hospital")
    assert view(other).decision.consent is Consent.OPEN
    with pytest.raises(PermissionRefused):
        patients.list_patients(site=northeast, actor=manager)
    patient_permissions = {each for each in Permission if each.startswith(("patients", "predict"))}
    assert not patient_permissions & PERMISSIONS[Role.INSTITUTION_ADMIN]


def test_the_own_part_in_the_newest_run_that_asked(consortium: Consortium, manager: Actor) -> None:
    with central_session() as central:
        assert own_part(central=central, actor=manager).contribution is None
    add_run(consortium, {"northeast": [("statistics", "ok", None), ("train", "ok", None)]})
    newest = add_run(
        consortium,
        {
            "northeast": [
                ("statistics", "excluded", "Waiting for approval."),
                ("train", "excluded", "Waiting for approval."),
                ("train", "late", "No answer within 60 seconds."),
                ("train", "ok", None),
                ("evaluate", "ok", None),
            ],
            "southwest": [("train", "ok", None)],
        },
    )
    add_run(consortium, {"southwest": [("train", "ok", None)]})
    seen_at = answer_presence(consortium, "northeast")
    with central_session() as central:
        own = own_part(central=central, actor=manager)
    assert own.is_active and own.last_seen_at == seen_at
    part = own.contribution
    assert part is not None
    assert (part.run_id, part.status, part.rounds_used, part.rounds_asked) == (newest, "completed", 1, 3)
    assert (part.training_rows, part.reason) == (240, "No answer within 60 seconds.")


def test_a_deactivated_institution_is_told_so(consortium: Consortium, manager: Actor) -> None:
    with consortium.central() as central:
        central.scalars(select(Institution).where(Institution.code == "northeast")).one().is_active = False
        central.commit()
    with central_session() as central:
        assert not own_part(central=central, actor=manager).is_active
