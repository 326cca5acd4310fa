"""The institutions of the consortium as its administrators see and manage them; never a patient."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import func, select, tuple_
from sqlalchemy.dialects.postgresql import aggregate_order_by, distinct_on
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import Conflict, InvalidInput, NotFound
from app.permissions import Permission
from app.services import audit
from app.services.monitoring import HEARTBEAT_LIMIT
from app.services.paging import Page, check_limit, integer_cursor, page_of, unknown_cursor
from db.central import AuditEvent, Institution, MedicalWorker, SiteResult, TrainingRun
from db.federation import FederationStatus, SitePresence
from db.states import Phase, RunKind, SiteOutcome
from fl.features import FieldProblem

DEACTIVATED, REACTIVATED = "institution_deactivated", "institution_reactivated"
LONGEST_REASON = 500  # characters
SEEN_LIMIT = timedelta(seconds=60)  # a Site is asked every 20 s; one that was silent for longer is away
RECENT_RUNS = 5

Connection = Literal["connected", "starting", "down", "inactive"]


@dataclass(frozen=True)
class RunPart:
    """What one institution did in one Run.

    Attributes
    ----------
    used, asked
        Answers that were used, of those it was asked for.
    reason
        Why an answer was not used, the last time that happened.
    """

    run_id: int
    kind: str
    status: str
    requested_at: datetime
    used: int
    asked: int
    reason: str | None


@dataclass(frozen=True)
class InstitutionView:
    """One institution and what is known of its Site.

    Attributes
    ----------
    usable_rows
        Patients with a known cost, rounded down to tens by the Site; None if it has not said so yet.
    same_code
        Whether it runs the code of the hub; None if either has not said so yet.
    consent
        What it last said of its consent, as `db.states.Consent`; None if it has not.
    status_reason, status_by, status_at
        Of the last deactivation or reactivation; None if there was none.
    """

    code: str
    name: str
    address: str | None
    created_at: datetime
    is_active: bool
    status_reason: str | None
    status_by: str | None
    status_at: datetime | None
    connection: Connection
    online_since: datetime | None
    last_seen_at: datetime | None
    usable_rows: int | None
    software_version: str | None
    same_code: bool | None
    consent: str | None
    people: int
    runs: list[RunPart]


def list_institutions(
    *, central: Session, actor: Actor, cursor: str | None = None, limit: int | None = None
) -> Page[InstitutionView]:
    """Read the institutions in the order of names, each with its last five Runs.

    Parameters
    ----------
    limit
        At most so many, from the one after `cursor` on; None reads all.

    Raises
    ------
    InvalidInput
        If the cursor or the limit is not accepted.
    """
    actor.require(Permission.INSTITUTIONS_MANAGE)
    status = central.scalars(select(FederationStatus).execution_options(populate_existing=True)).one_or_none()
    query = (
        select(Institution, SitePresence)
        .outerjoin(SitePresence, SitePresence.institution_id == Institution.id)
        .order_by(Institution.name, Institution.id)
    )
    if limit is not None:
        query = query.limit(check_limit(limit) + 1)
    if cursor is not None:
        start = central.get(Institution, integer_cursor(cursor))
        if start is None:
            raise unknown_cursor()
        query = query.where(tuple_(Institution.name, Institution.id) > (start.name, start.id))
    rows = central.execute(query.execution_options(populate_existing=True)).all()
    people: dict[int, int] = dict(
        central.execute(
            select(MedicalWorker.institution_id, func.count())
            .where(MedicalWorker.institution_id.is_not(None), MedicalWorker.is_active)
            .group_by(MedicalWorker.institution_id)
        ).all()  # type: ignore[arg-type]
    )
    changes = _last_changes(central)
    parts = _recent_runs(central)
    now = datetime.now(UTC)
    views = []
    page = page_of(rows, limit or len(rows), lambda row: row[0].id)
    for institution, presence in page.items:
        reason, by, at = changes.get(f"institution {institution.code}", (None, None, None))
        views.append(
            InstitutionView(
                code=institution.code,
                name=institution.name,
                address=institution.address,
                created_at=institution.created_at,
                is_active=institution.is_active,
                status_reason=reason,
                status_by=by,
                status_at=at,
                connection=_connection(institution, presence, status, now),
                online_since=presence.online_since if presence else None,
                last_seen_at=presence.last_seen_at if presence else None,
                usable_rows=presence.usable_rows if presence else None,
                software_version=presence.software_version if presence else None,
                same_code=presence.bundle_sha256 == status.bundle_sha256
                if presence and status and status.bundle_sha256
                else None,
                consent=presence.consent if presence else None,
                people=people.get(institution.id, 0),
                runs=parts.get(institution.id, []),
            )
        )
    return Page(views, page.next_cursor)


def set_active(*, central: Session, actor: Actor, code: str, active: bool, reason: str) -> Institution:
    """Deactivate an institution, or take it back in.

    No Run asks an institution that is not active, and its SuperNode is stopped where it runs beside the hub; its
    people go on seeing their patients.

    Raises
    ------
    NotFound
        If there is no such institution.
    InvalidInput
        If the reason is missing or too long.
    Conflict
        If it is so already.
    """
    actor.require(Permission.INSTITUTIONS_MANAGE)
    institution = central.scalars(
        select(Institution).where(Institution.code == code).with_for_update()
    ).one_or_none()
    if institution is None:
        raise NotFound("There is no such institution.")
    reason = " ".join(reason.split())
    if not 1 <= len(reason) <= LONGEST_REASON:
        message = f"Give a reason of at most {LONGEST_REASON} characters; it is kept with the change."
        raise InvalidInput([FieldProblem("reason", message)])
    if institution.is_active == active:
        raise Conflict(f"{institution.name} is {'already active' if active else 'not active any more'}.")
    institution.is_active = active
    audit.record(
        central=central,
        actor=actor,
        action=REACTIVATED if active else DEACTIVATED,
        target=f"institution {code}",
        details={"reason": reason},
    )
    central.flush()
    return institution


def _connection(
    institution: Institution, presence: SitePresence | None, status: FederationStatus | None, now: datetime
) -> Connection:
    if not institution.is_active:
        return "inactive"
    if status is not None and now - status.heartbeat_at < HEARTBEAT_LIMIT:
        said: dict[str, Any] = status.sites.get(institution.code, {})
        if said.get("state") in ("connected", "starting", "down"):
            state: Connection = said["state"]
            return state
    # A Site on another machine: only its own answers tell.
    if presence is not None and now - presence.last_seen_at < SEEN_LIMIT:
        return "connected"
    return "down"


def _last_changes(central: Session) -> dict[str, tuple[str, str | None, datetime]]:
    """Return target -> reason, who and when, of each institution's last change."""
    rows = central.execute(
        select(
            AuditEvent.target, AuditEvent.details["reason"].astext, MedicalWorker.name, AuditEvent.occurred_at
        )
        .ext(distinct_on(AuditEvent.target))
        .outerjoin(MedicalWorker, MedicalWorker.id == AuditEvent.worker_id)
        .where(AuditEvent.action.in_((DEACTIVATED, REACTIVATED)), AuditEvent.outcome == "ok")
        .order_by(AuditEvent.target, AuditEvent.id.desc())
    )
    return {target: (reason, name, at) for target, reason, name, at in rows}


def _recent_runs(central: Session) -> dict[int, list[RunPart]]:
    """Return institution id -> what it did in the newest Runs that were begun, the newest first."""
    newest = (
        select(TrainingRun.id)
        .where(select(SiteResult.id).where(SiteResult.run_id == TrainingRun.id).exists())
        .order_by(TrainingRun.id.desc())
        .limit(RECENT_RUNS)
    )
    used = SiteResult.outcome == SiteOutcome.OK
    # An evaluation that withheld a figure is no absence from training.
    counted = (SiteResult.phase != Phase.EVALUATE) | (TrainingRun.kind == RunKind.EVALUATION)
    reasons_in_order = aggregate_order_by(SiteResult.reason, SiteResult.id)
    rows = central.execute(
        select(
            SiteResult.institution_id,
            TrainingRun.id,
            TrainingRun.kind,
            TrainingRun.status,
            TrainingRun.requested_at,
            func.count().filter(used, counted),
            func.count().filter(counted),
            func.array_agg(reasons_in_order).filter(~used, counted),
        )
        .join(TrainingRun, TrainingRun.id == SiteResult.run_id)
        .where(TrainingRun.id.in_(newest))
        .group_by(SiteResult.institution_id, TrainingRun.id)
        .order_by(TrainingRun.id.desc())
    )
    parts: dict[int, list[RunPart]] = {}
    for institution_id, run_id, kind, status, requested_at, answers_used, asked, reasons in rows:
        reason = reasons[-1] if reasons else None
        part = RunPart(run_id, kind, status, requested_at, answers_used, asked, reason)
        parts.setdefault(institution_id, []).append(part)
    return parts
