"""Reading the audit trails: an institution's administrator reads the own Site's, the consortium's the central one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.actor import Actor
from app.databases import central_read_session, central_session, site_session
from app.errors import InvalidInput
from app.permissions import Permission
from app.services import audit, audit_chain
from app.services.access import names_patient, record_access
from app.services.audit_chain import ChainBroken, ChainHead, ChainState, Trail
from app.services.paging import Page, Position, read_page, unknown_cursor
from db.central import AuditEvent, Institution, MedicalWorker
from db.site import AccessEvent
from db.states import Role
from fl.features import FieldProblem

# A transaction's events bear the time of its beginning: by so many ids an event may stand later than its time says.
_OUT_OF_ORDER = 100_000
EXPORT_BATCH = 1000
LARGEST_ID = 2**63 - 1


@dataclass(frozen=True)
class AuditFilter:
    """Which events; all that is given must hold.

    Attributes
    ----------
    since, until
        First and last day, as days are in `zone`.
    worker_id
        Who.
    action
        Its name, for example `patient_read`.
    outcome
        `ok`, `refused` or `failed`.
    target
        In a hospital a patient's id; in the consortium the name of what it was done to, for example `run 7`.
    institution
        Code; of the central trail only.
    address
        The network address that it came from.
    request_id
        Of the request that it belongs to.
    """

    since: date | None = None
    until: date | None = None
    zone: str = "UTC"
    worker_id: int | None = None
    action: str | None = None
    outcome: str | None = None
    target: str | None = None
    institution: str | None = None
    address: str | None = None
    request_id: str | None = None

    @property
    def used(self) -> list[str]:
        """Names of what it filters by."""
        given = [each.name for each in fields(self) if getattr(self, each.name) not in (None, "")]
        return [name for name in given if name != "zone"]

    def check(self) -> None:
        """Raise `InvalidInput` if the zone or the outcome is unknown, or a text cannot stand in an event."""
        problems = []
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            problems.append(
                FieldProblem("zone", "This time zone is not known; expected a name like Europe/Berlin.")
            )
        if self.outcome and self.outcome not in ("ok", "refused", "failed"):
            problems.append(FieldProblem("outcome", "An outcome is ok, refused or failed."))
        for name in ("action", "target", "institution", "address", "request_id"):
            if "\x00" in (getattr(self, name) or ""):
                problems.append(FieldProblem(name, "This text cannot stand in an event."))
        if self.worker_id is not None and abs(self.worker_id) > 2**31 - 1:
            problems.append(FieldProblem("worker_id", "There is no such person."))
        if problems:
            raise InvalidInput(problems)


EVERYTHING = AuditFilter()


@dataclass(frozen=True)
class EventView:
    """One event as people read it; `who` is None if nobody asked, `sealed` None while it waits."""

    id: int
    occurred_at: datetime
    worker_id: int | None
    who: str | None
    role: str | None
    institution: str | None
    action: str
    target: str | None
    outcome: str
    address: str | None
    request_id: str | None
    details: dict[str, Any]
    sealed: int | None = None


@dataclass(frozen=True)
class OpenTrail:
    """The trail that a person may read, opened.

    Attributes
    ----------
    session
        On the database that holds it.
    central
        On the consortium's database, where people's names are.
    """

    kind: Trail
    session: Session
    central: Session


@dataclass(frozen=True)
class AuditChoices:
    """What a trail can be filtered by: people by name, actions, and institutions (of the central trail)."""

    workers: list[tuple[int, str]]
    actions: list[str]
    institutions: list[tuple[str, str]]


@contextmanager
def trail_opened(actor: Actor, *, read_only: bool = False) -> Iterator[OpenTrail]:
    """Open the trail that this person may read.

    Parameters
    ----------
    read_only
        Nothing is added to the central trail, so a replica may answer.

    Raises
    ------
    PermissionRefused
        If the role does not include it.
    """
    actor.require(Permission.AUDIT_READ)
    with central_read_session() if read_only else central_session() as central:
        if actor.role == Role.ADMIN:
            yield OpenTrail("central", central, central)
        else:
            with site_session(actor) as site:
                yield OpenTrail("site", site, central)


def list_events(
    trail: OpenTrail,
    *,
    actor: Actor,
    filter: AuditFilter = EVERYTHING,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[EventView]:
    """List one page of the events that `filter` names, the newest first; raises `InvalidInput`."""
    actor.require(Permission.AUDIT_READ)
    filter.check()
    conditions = _conditions(trail, filter)
    table = _table(trail)

    def rows(position: Position | None, count: int) -> Sequence[EventView]:
        query = select(table).where(*conditions)
        backwards = position is not None and position.backwards
        if position is not None:
            at = _id_of(position.row)
            query = query.where(table.id > at if backwards else table.id < at)
        query = query.order_by(table.id if backwards else table.id.desc()).limit(count)
        return _views(trail, list(trail.session.scalars(query)))

    return read_page(cursor, limit, rows, lambda event: event.id)


def events_for_export(
    trail: OpenTrail, *, actor: Actor, filter: AuditFilter = EVERYTHING
) -> Iterator[EventView]:
    """Return every event of the filter, the newest first, read while they are taken; that it was exported is kept.

    Raises
    ------
    InvalidInput
        If the filter is not accepted.
    """
    actor.require(Permission.AUDIT_READ)
    filter.check()
    table, conditions = _table(trail), _conditions(trail, filter)
    count = trail.session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0
    record_in_trail(trail, actor, "audit_exported", {"count": count, "filters": filter.used})
    trail.session.flush()
    query = select(table).where(*conditions).order_by(table.id.desc())
    batches = trail.session.scalars(query.execution_options(yield_per=EXPORT_BATCH)).partitions()
    return (view for batch in batches for view in _views(trail, list(batch), sealed=False))


def audit_choices(trail: OpenTrail, *, actor: Actor) -> AuditChoices:
    """Return what the trail can be filtered by."""
    actor.require(Permission.AUDIT_READ)
    table = _table(trail)
    workers = _each(trail.session, table.worker_id)
    names = _names(trail.central, workers)
    institutions = [] if trail.kind == "site" else trail.central.execute(_INSTITUTIONS).all()
    return AuditChoices(
        workers=sorted(names.items(), key=lambda worker: (worker[1].casefold(), worker[0])),
        actions=_each(trail.session, table.action),
        institutions=[(code, name) for code, name in institutions],
    )


def trail_state(trail: OpenTrail, *, actor: Actor) -> ChainState:
    """Return how far the trail is sealed and what the last verification found."""
    actor.require(Permission.AUDIT_READ)
    return audit_chain.chain_state(trail.session, trail.kind)


def verify_trail(actor: Actor) -> ChainHead:
    """Compute the whole chain again and record what was found; raises `ChainBroken` naming the first wrong event."""
    with trail_opened(actor) as trail:
        trail.session.commit()
        try:
            head = audit_chain.verify_and_record(trail.session, trail.kind)
        except ChainBroken:
            record_in_trail(trail, actor, "audit_verified", {}, outcome="failed")
            trail.session.commit()
            raise
        record_in_trail(trail, actor, "audit_verified", {"position": head.position})
        return head


_INSTITUTIONS = select(Institution.code, Institution.name).order_by(Institution.name)


def _table(trail: OpenTrail) -> Any:
    return AuditEvent if trail.kind == "central" else AccessEvent


def record_in_trail(
    trail: OpenTrail, actor: Actor, action: str, details: dict[str, Any], outcome: audit.Outcome = "ok"
) -> None:
    """Add an event to the trail that is open."""
    if trail.kind == "central":
        audit.record(central=trail.session, actor=actor, action=action, details=details, outcome=outcome)
    else:
        record_access(trail.session, actor, action, details=details, outcome=outcome)


def _conditions(trail: OpenTrail, filter: AuditFilter) -> list[ColumnElement[bool]]:
    table = _table(trail)
    found: list[ColumnElement[bool]] = []
    if filter.since:
        moment = _midnight(filter.since, filter.zone)
        first = trail.session.scalar(
            select(table.id).where(table.occurred_at >= moment).order_by(table.occurred_at).limit(1)
        )
        found += [
            table.id >= (LARGEST_ID if first is None else first - _OUT_OF_ORDER),
            table.occurred_at >= moment,
        ]
    if filter.until:
        moment = _midnight(filter.until + timedelta(days=1), filter.zone)
        last = trail.session.scalar(
            select(table.id).where(table.occurred_at < moment).order_by(table.occurred_at.desc()).limit(1)
        )
        found += [table.id <= (0 if last is None else last + _OUT_OF_ORDER), table.occurred_at < moment]
    for column, value in (
        (table.worker_id, filter.worker_id),
        (table.action, filter.action),
        (table.outcome, filter.outcome),
        (table.address, filter.address),
        (table.request_id, filter.request_id),
    ):
        if value not in (None, ""):
            found.append(column == value)
    if filter.target:
        found.append(_target(trail, filter.target))
    if filter.institution and trail.kind == "central":
        code = filter.institution
        found.append(
            AuditEvent.institution_id
            == select(Institution.id).where(Institution.code == code).scalar_subquery()
        )
    return found


def _target(trail: OpenTrail, target: str) -> ColumnElement[bool]:
    if trail.kind == "central":
        return AuditEvent.target == target
    try:
        patient_id = uuid.UUID(target)
    except ValueError:
        raise InvalidInput(
            [FieldProblem("target", "A patient is named by the record's number, a UUID.")]
        ) from None
    return names_patient(patient_id)


def _midnight(day: date, zone: str) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(zone))


def _id_of(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 19 and int(cursor) <= LARGEST_ID):
        raise unknown_cursor()
    return int(cursor)


def _views(trail: OpenTrail, events: list[Any], *, sealed: bool = True) -> list[EventView]:
    names = _names(trail.central, {event.worker_id for event in events})
    seals = audit_chain.positions_of(trail.session, [event.id for event in events]) if sealed else {}
    institutions: dict[int, str] = {}
    if trail.kind == "central":
        institutions = dict(trail.central.execute(select(Institution.id, Institution.name)).all())
    return [
        EventView(
            id=event.id,
            occurred_at=event.occurred_at,
            worker_id=event.worker_id,
            who=names.get(event.worker_id),
            role=event.role,
            institution=institutions.get(event.institution_id) if trail.kind == "central" else None,
            action=event.action,
            target=event.target
            if trail.kind == "central"
            else str(event.patient_id)
            if event.patient_id
            else None,
            outcome=event.outcome,
            address=event.address,
            request_id=event.request_id,
            details=event.details,
            sealed=seals.get(event.id),
        )
        for event in events
    ]


def _names(central: Session, workers: Any) -> dict[int, str]:
    wanted = [worker for worker in workers if worker is not None]
    query = select(MedicalWorker.id, MedicalWorker.name).where(MedicalWorker.id.in_(wanted))
    return dict(central.execute(query).all())


def _each(session: Session, column: Any) -> list[Any]:
    """Return every value of a column by going from one to the next along its index; DISTINCT would read all rows."""
    found: list[Any] = []
    value = session.scalar(select(func.min(column)))
    while value is not None:
        found.append(value)
        value = session.scalar(select(func.min(column)).where(column > value))
    return found
