"""The people whom an administrator looks after: searched, filtered, and when each was last there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select, tuple_
from sqlalchemy.orm import Session as DatabaseSession

from app.actor import Actor
from app.errors import InvalidInput, NotFound
from app.services.paging import Page, Position, integer_cursor, read_page, unknown_cursor
from app.services.worker_scope import looked_after_by, looks_after_all
from app.services.worker_sessions import is_open
from db.accounts import OneTimeLink
from db.central import Institution, MedicalWorker, Session
from db.states import Role
from fl.features import FieldProblem

STATES = ("active", "locked", "deactivated", "without_password")
LONGEST_SEARCH = 100
WHOLE_CONSORTIUM = "-"  # as institution: people who belong to none


@dataclass(frozen=True)
class WorkerFilter:
    """Which people; what is None does not matter.

    Attributes
    ----------
    search
        Part of the name or of the e-mail address.
    institution
        Its code, or `WHOLE_CONSORTIUM`.
    state
        One of `STATES`.
    """

    search: str | None = None
    role: Role | None = None
    institution: str | None = None
    state: str | None = None


@dataclass(frozen=True)
class WorkerView:
    """One person as an administrator sees them.

    Attributes
    ----------
    last_seen_at
        When they last did something here, to the minute; None: never.
    locked_until
        Set while wrong passwords keep the account closed.
    has_password
        Whether they have chosen one yet.
    link_expires_at
        Of the one-time link that is alive.
    sessions
        How many browsers and programs are signed in.
    """

    id: int
    email: str
    name: str
    role: str
    institution_code: str | None
    institution_name: str | None
    is_active: bool
    has_password: bool
    locked_until: datetime | None
    link_expires_at: datetime | None
    last_seen_at: datetime | None
    created_at: datetime
    sessions: int
    row_version: int


def list_workers(
    *,
    central: DatabaseSession,
    actor: Actor,
    filter: WorkerFilter | None = None,
    cursor: str | None = None,
    limit: int = 25,
) -> Page[WorkerView]:
    """List people by name, a page at a time.

    Raises
    ------
    InvalidInput
        If the filter or the cursor is not accepted.
    """
    chosen = _conditions(actor, filter or WorkerFilter())

    def read(position: Position | None, rows: int) -> Sequence[WorkerView]:
        query = _people().where(*chosen)
        key = (func.lower(MedicalWorker.name), MedicalWorker.id)
        backwards = position is not None and position.backwards
        if position is not None:
            at = _place(central, actor, position.row)
            query = query.where(tuple_(*key) < at if backwards else tuple_(*key) > at)
        order = [column.desc() for column in key] if backwards else list(key)
        return [WorkerView(*row) for row in central.execute(query.order_by(*order).limit(rows))]

    return read_page(cursor, limit, read, lambda view: view.id)


def count_workers(*, central: DatabaseSession, actor: Actor, filter: WorkerFilter | None = None) -> int:
    """Count the people of a filter."""
    query = (
        select(func.count())
        .select_from(MedicalWorker)
        .outerjoin(Institution, Institution.id == MedicalWorker.institution_id)
        .where(*_conditions(actor, filter or WorkerFilter()))
    )
    return central.scalar(query) or 0


def read_worker(*, central: DatabaseSession, actor: Actor, worker_id: int) -> WorkerView:
    """Read one person; raises `NotFound` if the actor looks after nobody of that id."""
    query = _people().where(looked_after_by(actor), MedicalWorker.id == worker_id)
    row = central.execute(query).one_or_none()
    if row is None:
        raise NotFound("There is no such person among those whom you look after.")
    return WorkerView(*row)


def institutions_to_choose(*, central: DatabaseSession, actor: Actor) -> dict[str, str]:
    """Return code -> name of the institutions whose people the actor looks after."""
    looked_after_by(actor)
    query = select(Institution.code, Institution.name).order_by(Institution.name)
    if not looks_after_all(actor):
        query = query.where(Institution.id == actor.institution_id)
    return {row.code: row.name for row in central.execute(query)}


def _people() -> Select[Any]:
    open_sessions = (
        select(func.count())
        .where(Session.worker_id == MedicalWorker.id, is_open())
        .correlate(MedicalWorker)
        .scalar_subquery()
    )
    acted = (
        select(func.max(Session.last_seen_at))
        .where(Session.worker_id == MedicalWorker.id)
        .correlate(MedicalWorker)
        .scalar_subquery()
    )
    link = (
        select(func.max(OneTimeLink.expires_at))
        .where(
            OneTimeLink.worker_id == MedicalWorker.id,
            OneTimeLink.used_at.is_(None),
            OneTimeLink.ended_at.is_(None),
            OneTimeLink.expires_at > func.clock_timestamp(),
        )
        .correlate(MedicalWorker)
        .scalar_subquery()
    )
    still_locked = MedicalWorker.locked_until > func.clock_timestamp()
    return select(
        MedicalWorker.id,
        MedicalWorker.email,
        MedicalWorker.name,
        MedicalWorker.role,
        Institution.code,
        Institution.name,
        MedicalWorker.is_active,
        MedicalWorker.password_hash.is_not(None),
        case((still_locked, MedicalWorker.locked_until)),
        link,
        func.greatest(MedicalWorker.last_seen_at, acted),
        MedicalWorker.created_at,
        open_sessions,
        MedicalWorker.row_version,
    ).outerjoin(Institution, Institution.id == MedicalWorker.institution_id)


def _conditions(actor: Actor, filter: WorkerFilter) -> list[ColumnElement[bool]]:
    conditions = [looked_after_by(actor)]
    if filter.search and filter.search.strip():
        wanted = filter.search.strip().lower()
        if len(wanted) > LONGEST_SEARCH or not wanted.isprintable():
            raise InvalidInput(
                [FieldProblem("search", f"A search has up to {LONGEST_SEARCH} printable characters.")]
            )
        conditions.append(
            or_(
                func.lower(MedicalWorker.name).contains(wanted, autoescape=True),
                MedicalWorker.email.contains(wanted, autoescape=True),
            )
        )
    if filter.role is not None:
        conditions.append(MedicalWorker.role == filter.role)
    if filter.institution == WHOLE_CONSORTIUM:
        conditions.append(MedicalWorker.institution_id.is_(None))
    elif filter.institution is not None:
        conditions.append(Institution.code == filter.institution)
    if filter.state is not None:
        conditions.append(_in_state(filter.state))
    return conditions


def _in_state(state: str) -> ColumnElement[bool]:
    active = MedicalWorker.is_active.is_(True)
    if state == "deactivated":
        return MedicalWorker.is_active.is_(False)
    if state == "active":
        return active
    if state == "locked":
        return MedicalWorker.locked_until > func.clock_timestamp()
    if state == "without_password":
        return and_(active, MedicalWorker.password_hash.is_(None))
    raise InvalidInput([FieldProblem("state", f"The state is one of {', '.join(STATES)}.")])


def _place(central: DatabaseSession, actor: Actor, cursor: str) -> Any:
    row = central.execute(
        select(func.lower(MedicalWorker.name), MedicalWorker.id).where(
            MedicalWorker.id == integer_cursor(cursor), looked_after_by(actor)
        )
    ).one_or_none()
    if row is None:
        raise unknown_cursor()
    return tuple_(*row)
