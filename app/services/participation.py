"""Whether an institution takes part in training: decided by its own administrator, kept in its own database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import Conflict, InvalidInput, NotFound
from app.permissions import Permission
from app.services import audit
from app.services.access import record_access
from app.services.paging import LARGEST_ID
from db.central import Institution, MedicalWorker, SiteResult, TrainingRun
from db.federation import SitePresence
from db.site import AccessEvent, Participation, RunApproval
from db.states import ENDED_STATUSES, Consent, Phase, SiteOutcome
from fl.features import FieldProblem

CHANGED, DECIDED = "participation_changed", "run_approval_decided"  # access and audit events
LONGEST_REASON = 500  # characters
HISTORY_LIMIT = 50


@dataclass(frozen=True)
class Decision:
    """What the institution's administrator allows; `changed_at` is None as long as nothing was decided."""

    consent: Consent
    reason: str | None
    changed_by_name: str | None
    changed_at: datetime | None


@dataclass(frozen=True)
class Approval:
    """A Run that asked, what it asks for, and what was decided.

    Attributes
    ----------
    settings
        `kind`, `num_rounds` and `strategy` of the Run, and every setting.
    settings_sha256
        To be named when deciding, so that nobody approves what they did not see.
    decision
        `waiting`, `approved`, `refused`, or `missed` if the Run has ended and nobody decided.
    """

    run_id: int
    settings: dict[str, Any]
    settings_sha256: str
    requested_at: datetime
    decision: str
    decided_by_name: str | None
    decided_at: datetime | None


@dataclass(frozen=True)
class Change:
    """One change of participation."""

    occurred_at: datetime
    by_name: str
    consent: Consent
    reason: str | None


@dataclass(frozen=True)
class ParticipationView:
    """Where an institution stands; the newest of everything first."""

    decision: Decision
    waiting: list[Approval]
    decided: list[Approval]
    changes: list[Change]


@dataclass(frozen=True)
class Contribution:
    """What the own institution did in the newest Run that asked it.

    Attributes
    ----------
    rounds_used
        Rounds of training in which its answer was used, of `rounds_asked`.
    training_rows
        Rows it trained on in the last of them; None if in none.
    reason
        Why an answer was not used, the last time that happened; None if all were.
    """

    run_id: int
    status: str
    requested_at: datetime
    rounds_used: int
    rounds_asked: int
    training_rows: int | None
    reason: str | None


@dataclass(frozen=True)
class OwnPart:
    """What the consortium's database holds of the own institution: whether it is asked, seen, and used."""

    is_active: bool
    last_seen_at: datetime | None
    contribution: Contribution | None


def participation(*, site: Session, central: Session, actor: Actor) -> ParticipationView:
    """Read where the actor's own institution stands."""
    actor.require(Permission.PARTICIPATION)
    rows = site.scalars(
        select(RunApproval)
        .order_by(RunApproval.run_id.desc())
        .limit(HISTORY_LIMIT)
        .execution_options(populate_existing=True)
    ).all()
    ended = _ended(central, [row.run_id for row in rows if row.decision == "waiting"])
    approvals = [_approval(row, missed=row.run_id in ended) for row in rows]
    return ParticipationView(
        _decision(site),
        [each for each in approvals if each.decision == "waiting"],
        [each for each in approvals if each.decision != "waiting"],
        _changes(site, central),
    )


def change_participation(
    *, site: Session, central: Session, actor: Actor, consent: str, reason: str | None = None
) -> Decision:
    """Let the own institution take part in every Run, in none, or in each after its settings were approved.

    It counts from the next message on that reaches the Site, also within a Run.

    Parameters
    ----------
    reason
        Needed to pause; stays in the institution's own database.

    Raises
    ------
    InvalidInput
        If the state is not known, or the reason is missing or too long.
    """
    actor.require(Permission.PARTICIPATION)
    reason = " ".join((reason or "").split()) or None
    problems = _problems_of(consent, reason)
    if problems:
        raise InvalidInput(problems)
    values = {
        "consent": str(consent),
        "reason": reason,
        "changed_by": actor.worker_id,
        "changed_by_name": actor.name,
        "changed_at": func.clock_timestamp(),
    }
    statement = insert(Participation).values(id=1, **values)
    site.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))
    record_access(site, actor, CHANGED, details={"consent": str(consent), "reason": reason, "by": actor.name})
    audit.record(
        central=central,
        actor=actor,
        action=CHANGED,
        target=f"institution {actor.institution_code}",
        details={"consent": str(consent)},
    )
    site.flush()
    return _decision(site)


def decide_run(
    *, site: Session, central: Session, actor: Actor, run_id: int, approve: bool, settings_sha256: str
) -> Approval:
    """Approve or refuse what a Run asks for; a decision stands, pausing stops what was approved.

    Raises
    ------
    NotFound
        If no such Run has asked this institution.
    Conflict
        If it was decided already, has ended, or asks for something else than what `settings_sha256` names.
    """
    actor.require(Permission.PARTICIPATION)
    row = site.get(RunApproval, run_id, with_for_update=True) if 0 < run_id <= LARGEST_ID else None
    if row is None:
        raise NotFound(f"Run {run_id} has not asked your hospital for approval.")
    if row.decision != "waiting":
        raise Conflict(f"Run {run_id} was already {row.decision} by {row.decided_by_name}.")
    if _ended(central, [run_id]):
        raise Conflict(f"Run {run_id} has ended, so there is nothing to decide.")
    if row.settings_sha256 != settings_sha256:
        raise Conflict(f"Run {run_id} asks for other settings now. Look at them again before you decide.")
    row.decision = "approved" if approve else "refused"
    row.decided_by, row.decided_by_name = actor.worker_id, actor.name
    row.decided_at = func.clock_timestamp()
    details = {"run_id": run_id, "decision": row.decision, "settings_sha256": settings_sha256}
    record_access(site, actor, DECIDED, details=details)
    audit.record(central=central, actor=actor, action=DECIDED, target=f"run {run_id}", details=details)
    site.flush()
    site.refresh(row)
    return _approval(row)


def own_part(*, central: Session, actor: Actor) -> OwnPart:
    """Read what the consortium knows of the actor's own institution, and of no other."""
    actor.require(Permission.PARTICIPATION)
    institution = actor.institution_id
    is_active = central.scalar(select(Institution.is_active).where(Institution.id == institution))
    seen = central.scalar(select(SitePresence.last_seen_at).where(SitePresence.institution_id == institution))
    return OwnPart(bool(is_active), seen, _contribution(central, institution))


def _contribution(central: Session, institution_id: int | None) -> Contribution | None:
    newest = (
        select(func.max(SiteResult.run_id))
        .where(SiteResult.institution_id == institution_id)
        .scalar_subquery()
    )
    trained = SiteResult.phase == Phase.TRAIN
    used = SiteResult.outcome == SiteOutcome.OK
    row = central.execute(
        select(
            TrainingRun.id,
            TrainingRun.status,
            TrainingRun.requested_at,
            func.count().filter(trained, used),
            func.count().filter(trained),
            func.max(SiteResult.num_examples).filter(trained, used),
            func.array_agg(aggregate_order_by(SiteResult.reason, SiteResult.id)).filter(~used),
        )
        .join(SiteResult, SiteResult.run_id == TrainingRun.id)
        .where(TrainingRun.id == newest, SiteResult.institution_id == institution_id)
        .group_by(TrainingRun.id)
    ).one_or_none()
    if row is None:
        return None
    run_id, status, requested_at, used_rounds, asked_rounds, rows, reasons = row
    reason = reasons[-1] if reasons else None
    return Contribution(run_id, status, requested_at, used_rounds, asked_rounds, rows, reason)


def _problems_of(consent: str, reason: str | None) -> list[FieldProblem]:
    problems = []
    if consent not in set(Consent):
        problems.append(FieldProblem("consent", f"consent must be one of {', '.join(Consent)}."))
    if consent == Consent.PAUSED and reason is None:
        problems.append(FieldProblem("reason", "Say in a few words why your hospital pauses."))
    if reason is not None and len(reason) > LONGEST_REASON:
        problems.append(FieldProblem("reason", f"The reason may have {LONGEST_REASON} characters at most."))
    return problems


def _decision(site: Session) -> Decision:
    row = site.scalars(select(Participation).execution_options(populate_existing=True)).one_or_none()
    if row is None:
        return Decision(Consent.OPEN, None, None, None)
    return Decision(Consent(row.consent), row.reason, row.changed_by_name, row.changed_at)


def _ended(central: Session, run_ids: list[int]) -> set[int]:
    query = select(TrainingRun.id).where(TrainingRun.id.in_(run_ids), TrainingRun.status.in_(ENDED_STATUSES))
    return set(central.scalars(query)) if run_ids else set()


def _approval(row: RunApproval, *, missed: bool = False) -> Approval:
    return Approval(
        row.run_id,
        row.settings,
        row.settings_sha256,
        row.requested_at,
        "missed" if missed else row.decision,
        row.decided_by_name,
        row.decided_at,
    )


def _changes(site: Session, central: Session) -> list[Change]:
    events = site.scalars(
        select(AccessEvent)
        .where(AccessEvent.action == CHANGED)
        .order_by(AccessEvent.id.desc())
        .limit(HISTORY_LIMIT)
    ).all()
    names = dict(
        central.execute(
            select(MedicalWorker.id, MedicalWorker.name).where(
                MedicalWorker.id.in_({event.worker_id for event in events if event.worker_id})
            )
        ).all()
    )
    return [
        Change(
            event.occurred_at,
            names.get(event.worker_id or 0, "somebody"),
            Consent(event.details["consent"]),
            event.details.get("reason"),
        )
        for event in events
    ]
