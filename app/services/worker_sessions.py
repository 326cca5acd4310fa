"""The sessions of a Worker: which are open, on what and since when, and ending them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, literal, or_, select, update
from sqlalchemy import Interval as SqlInterval
from sqlalchemy.orm import Session as DatabaseSession

from app.actor import Actor
from app.errors import NotFound
from app.permissions import Permission
from app.services import audit
from app.services.worker_scope import find_looked_after
from app.settings import get_settings
from db.central import Session
from db.states import SessionEnd, SessionKind

LISTED = 100  # sessions; a program that signs in for each request opens thousands


@dataclass(frozen=True)
class SessionView:
    """One open session as its owner sees it.

    Attributes
    ----------
    last_seen_at
        When somebody last did something in it, to the minute.
    is_this_one
        Whether it is the session that asks.
    """

    id: uuid.UUID
    kind: str
    user_agent: str | None
    address: str | None
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    is_this_one: bool


def own_sessions(*, central: DatabaseSession, actor: Actor) -> list[SessionView]:
    """List the actor's open sessions, the one that asks first, then the last used; `LISTED` at most."""
    actor.require(Permission.OWN_ACCOUNT)
    this_one = Session.id == actor.session_id
    rows = central.execute(
        select(
            Session.id,
            Session.kind,
            Session.user_agent,
            Session.address,
            Session.created_at,
            Session.last_seen_at,
            Session.expires_at,
            this_one,
        )
        .where(Session.worker_id == actor.worker_id, is_open())
        .order_by(this_one.desc(), Session.last_seen_at.desc())
        .limit(LISTED)
    )
    return [SessionView(*row) for row in rows]


def end_own_session(*, central: DatabaseSession, actor: Actor, session_id: uuid.UUID) -> None:
    """End one of the actor's sessions, which may be the one that asks.

    Raises
    ------
    NotFound
        If the actor has no open session of that id.
    """
    actor.require(Permission.OWN_ACCOUNT)
    mine = [Session.worker_id == actor.worker_id, Session.id == session_id]
    if _end(central, mine, SessionEnd.ENDED_BY_OWNER) == 0:
        raise NotFound("You have no open session of that id; it may have ended by itself.")
    _record(central, actor, actor.worker_id, 1)


def end_other_sessions(*, central: DatabaseSession, actor: Actor) -> int:
    """End all of the actor's sessions but the one that asks; returns how many that were."""
    actor.require(Permission.OWN_ACCOUNT)
    others = [Session.worker_id == actor.worker_id, Session.id != actor.session_id]
    ended = _end(central, others, SessionEnd.ENDED_BY_OWNER)
    _record(central, actor, actor.worker_id, ended)
    return ended


def end_sessions_of(*, central: DatabaseSession, actor: Actor, worker_id: int) -> int:
    """End every session of somebody whom the actor looks after; returns how many that were.

    Raises
    ------
    NotFound
        If the actor looks after nobody of that id.
    """
    worker = find_looked_after(central, actor, worker_id)
    ended = _end(central, [Session.worker_id == worker.id], SessionEnd.ENDED_BY_ADMINISTRATOR)
    _record(central, actor, worker.id, ended)
    return ended


def is_open() -> ColumnElement[bool]:
    """Return the condition that a session has not ended, by itself or for want of use."""
    idle = literal(timedelta(minutes=get_settings().session_idle_minutes), SqlInterval)
    return and_(
        Session.ended_at.is_(None),
        Session.expires_at > func.clock_timestamp(),
        # A refresh token that is not used in time expires by itself.
        or_(Session.kind == SessionKind.API, Session.last_seen_at > func.clock_timestamp() - idle),
    )


def _end(central: DatabaseSession, which: Sequence[ColumnElement[bool]], reason: SessionEnd) -> int:
    ended = central.execute(
        update(Session)
        .where(*which, is_open())
        .values(ended_at=func.clock_timestamp(), ticket_sha256=None, end_reason=reason)
        .returning(Session.id)
        .execution_options(synchronize_session=False)
    ).all()
    return len(ended)


def _record(central: DatabaseSession, actor: Actor, worker_id: int, ended: int) -> None:
    audit.record(
        central=central,
        actor=actor,
        action="sessions_ended",
        target=f"worker {worker_id}",
        details={"sessions": ended},
    )
