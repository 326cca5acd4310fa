"""Signed-in sessions in the central database; each rerun and request reads the person anew from here."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, literal, select, update
from sqlalchemy import Interval as SqlInterval
from sqlalchemy.orm import Session as DatabaseSession

from app.actor import Actor
from app.errors import SessionEnded
from app.services import audit
from app.settings import get_settings
from db.central import Institution, MedicalWorker, Session
from db.states import Role

TICKET_LIFETIME = timedelta(minutes=1)
ENDED = "Your session has ended. Please sign in again."


def open_session(
    central: DatabaseSession,
    *,
    worker: MedicalWorker,
    user_agent: str | None = None,
    lifetime: timedelta | None = None,
) -> tuple[Session, str]:
    """Begin a session of a Worker who has just proved who they are.

    Parameters
    ----------
    lifetime
        `session_hours` of the settings if not given.

    Returns
    -------
    tuple
        The session, and the secret that stands for it; the database holds only the secret's SHA-256.
    """
    secret = secrets.token_urlsafe(32)
    session = Session(
        id=uuid.uuid4(),
        worker_id=worker.id,
        token_sha256=_sha256(secret),
        user_agent=_printable(user_agent),
        expires_at=datetime.now(UTC) + (lifetime or timedelta(hours=get_settings().session_hours)),
    )
    central.add(session)
    central.flush()
    return session, secret


def actor_for_session(
    central: DatabaseSession, *, session_id: uuid.UUID, address: str | None = None
) -> Actor:
    """Return who a session belongs to, as they are now; raises `SessionEnded`."""
    return _actor(central, Session.id == session_id, address)


def actor_for_token(central: DatabaseSession, *, secret: str, address: str | None = None) -> Actor:
    """Return who a session's secret belongs to, as they are now; raises `SessionEnded`."""
    return _actor(central, Session.token_sha256 == _sha256(secret), address)


def end_session(central: DatabaseSession, *, actor: Actor) -> None:
    """End the actor's session; its secret, its ticket and its access tokens stop working at once."""
    ended = central.execute(
        update(Session)
        .where(Session.id == actor.session_id, Session.ended_at.is_(None))
        .values(ended_at=func.now(), ticket_sha256=None)
        .returning(Session.id)
    ).first()
    if ended is not None:
        audit.record(central=central, actor=actor, action="sign_out")


def issue_ticket(central: DatabaseSession, *, session_id: uuid.UUID) -> str:
    """Return a one-shot ticket that a browser trades for the session's cookie within a minute."""
    ticket = secrets.token_urlsafe(32)
    central.execute(
        update(Session)
        .where(Session.id == session_id, _is_open())
        .values(
            ticket_sha256=_sha256(ticket),
            ticket_expires_at=func.now() + literal(TICKET_LIFETIME, SqlInterval),
        )
    )
    return ticket


def redeem_ticket(central: DatabaseSession, *, ticket: str) -> tuple[Session, str]:
    """Trade a ticket for the session and a new secret; the second of two trades finds nothing.

    Raises
    ------
    SessionEnded
        If the ticket is unknown, used or older than a minute, or the session has ended.
    """
    secret = secrets.token_urlsafe(32)
    session = central.scalars(
        update(Session)
        .where(
            Session.ticket_sha256 == _sha256(ticket),
            Session.ticket_expires_at > func.clock_timestamp(),
            _is_open(),
        )
        .values(ticket_sha256=None, ticket_expires_at=None, token_sha256=_sha256(secret))
        .returning(Session)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if session is None:
        raise SessionEnded(ENDED)
    return session, secret


def _actor(central: DatabaseSession, condition: ColumnElement[bool], address: str | None) -> Actor:
    row = central.execute(
        select(
            Session.id,
            MedicalWorker.id,
            MedicalWorker.name,
            MedicalWorker.email,
            MedicalWorker.role,
            Institution.id,
            Institution.code,
            Institution.name,
        )
        .join(MedicalWorker, MedicalWorker.id == Session.worker_id)
        .outerjoin(Institution, Institution.id == MedicalWorker.institution_id)
        .where(condition, _is_open(), MedicalWorker.is_active)
    ).one_or_none()
    if row is None:
        raise SessionEnded(ENDED)
    session_id, worker_id, name, email, role, institution_id, code, institution = row
    return Actor(
        worker_id=worker_id,
        name=name,
        email=email,
        role=Role(role),
        institution_id=institution_id,
        institution_code=code,
        institution_name=institution,
        session_id=session_id,
        address=address,
    )


def _is_open() -> ColumnElement[bool]:
    return and_(Session.ended_at.is_(None), Session.expires_at > func.clock_timestamp())


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _printable(user_agent: str | None) -> str | None:
    if user_agent is None:
        return None
    return "".join(character for character in user_agent if character.isprintable())[:255]
