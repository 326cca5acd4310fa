"""Signed-in sessions in the central database; each rerun and request reads the person anew from here."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal

from sqlalchemy import ColumnElement, bindparam, func, literal, select, update
from sqlalchemy import Interval as SqlInterval
from sqlalchemy.orm import Session as DatabaseSession

from app.actor import Actor
from app.errors import SessionEnded
from app.services import audit
from app.services.worker_sessions import is_open
from app.settings import get_settings
from db.central import Institution, MedicalWorker, Session
from db.prepared import PreparedStatement
from db.states import Role, SessionEnd, SessionKind

TICKET_LIFETIME = timedelta(minutes=1)
SEEN_AGAIN_AFTER = timedelta(minutes=1)  # that somebody is still there is written no more often
ENDED = "Your session has ended. Please sign in again."


def open_session(
    central: DatabaseSession,
    *,
    worker: MedicalWorker,
    user_agent: str | None = None,
    address: str | None = None,
    kind: SessionKind = SessionKind.BROWSER,
    lifetime: timedelta | None = None,
    openid_sha256: str | None = None,
) -> tuple[Session, str]:
    """Begin a session of a Worker who has just proved who they are, in the transaction that admitted them.

    Parameters
    ----------
    lifetime
        `session_hours` of the settings if not given.
    openid_sha256
        Of the identity that a provider vouched for; it opens no second session.

    Returns
    -------
    tuple
        The session, and the secret that stands for it; the database holds only the secret's SHA-256.
    """
    secret = new_secret()
    session = Session(
        id=uuid.uuid4(),
        worker_id=worker.id,
        kind=kind,
        token_sha256=sha256(secret),
        openid_sha256=openid_sha256,
        user_agent=_printable(user_agent, 255),
        address=_printable(address, 64),
        expires_at=datetime.now(UTC) + (lifetime or timedelta(hours=get_settings().session_hours)),
    )
    central.add(session)
    central.flush()
    return session, secret


def actor_for_session(
    central: DatabaseSession, *, session_id: uuid.UUID, address: str | None = None, person_acts: bool = True
) -> Actor:
    """Return who a session belongs to, as they are now; raises `SessionEnded`.

    Parameters
    ----------
    person_acts
        False where only a timer of the page asks: that does not keep a session from ending for want of use.
    """
    return _actor(central, "id", session_id, address, person_acts)


def actor_for_token(central: DatabaseSession, *, secret: str, address: str | None = None) -> Actor:
    """Return who a session's secret belongs to, as they are now; raises `SessionEnded`."""
    return _actor(central, "token_sha256", sha256(secret), address, True)


def end_session(
    central: DatabaseSession, *, session_id: uuid.UUID, reason: SessionEnd, worker_id: int | None = None
) -> bool:
    """End a session; its secret, its ticket and all its tokens stop working at once.

    Parameters
    ----------
    worker_id
        Whose session it has to be, if given.

    Returns
    -------
    bool
        False if it had ended, or is not theirs.
    """
    whose = [Session.worker_id == worker_id] if worker_id is not None else []
    ended = central.execute(
        update(Session)
        .where(Session.id == session_id, Session.ended_at.is_(None), *whose)
        .values(ended_at=func.now(), ticket_sha256=None, end_reason=reason)
        .returning(Session.id)
    ).first()
    return ended is not None


def sign_out(central: DatabaseSession, *, actor: Actor) -> None:
    """End the session that the actor uses."""
    if end_session(central, session_id=actor.session_id, reason=SessionEnd.SIGNED_OUT):
        audit.record(central=central, actor=actor, action="sign_out")


def issue_ticket(central: DatabaseSession, *, session_id: uuid.UUID, browser: str | None) -> str:
    """Return a one-shot ticket that a browser trades for the session's cookie within a minute.

    Parameters
    ----------
    browser
        The secret by which the browser is known before anybody signs in (`app.auth.browser_cookie`). Only that
        browser may trade the ticket: in another one it would sign somebody in as this person, or this
        person in as somebody. Without it nobody may.
    """
    ticket = new_secret()
    central.execute(
        update(Session)
        .where(Session.id == session_id, is_open())
        .values(
            ticket_sha256=sha256(ticket),
            ticket_browser_sha256=sha256(browser) if browser else None,
            ticket_expires_at=func.now() + literal(TICKET_LIFETIME, SqlInterval),
        )
    )
    return ticket


def ticket_waits(central: DatabaseSession, *, ticket: str) -> bool:
    """Tell whether a ticket could still be traded."""
    waiting = select(Session.id).where(
        Session.ticket_sha256 == sha256(ticket),
        Session.ticket_expires_at > func.clock_timestamp(),
        is_open(),
    )
    return central.scalar(waiting) is not None


def redeem_ticket(central: DatabaseSession, *, ticket: str, browser: str | None) -> tuple[Session, str]:
    """Trade a ticket for the session and a new secret; the second of two trades finds nothing.

    Raises
    ------
    SessionEnded
        If the ticket is unknown, used, older than a minute or of another browser, or the session has ended.
    """
    secret = new_secret()
    session = central.scalars(
        update(Session)
        .where(
            Session.ticket_sha256 == sha256(ticket),
            Session.ticket_browser_sha256 == sha256(browser or ""),
            Session.ticket_expires_at > func.clock_timestamp(),
            is_open(),
        )
        .values(ticket_sha256=None, ticket_expires_at=None, token_sha256=sha256(secret))
        .returning(Session)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if session is None:
        raise SessionEnded(ENDED)
    return session, secret


@lru_cache(maxsize=8)
def _whose(by: str, idle_minutes: int) -> PreparedStatement:
    """Return the statement that asks whose a session is, with each request and each rerun of a page."""
    return PreparedStatement(
        f"whose_session_by_{by}_within_{idle_minutes}",
        select(
            Session.id,
            _not_seen_lately(),
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
        .where(getattr(Session, by) == bindparam("session"), is_open(), MedicalWorker.is_active),
    )


def _actor(
    central: DatabaseSession,
    by: Literal["id", "token_sha256"],
    session: uuid.UUID | str,
    address: str | None,
    person_acts: bool,
) -> Actor:
    whose = _whose(by, get_settings().session_idle_minutes)
    rows = whose.on(central.connection(), session=session)
    if not rows:
        raise SessionEnded(ENDED)
    session_id, worth_writing, worker_id, name, email, role, institution_id, code, institution = rows[0]
    if person_acts and worth_writing:
        central.execute(
            update(Session)
            .where(Session.id == session_id, _not_seen_lately())
            .values(last_seen_at=func.clock_timestamp())
            .execution_options(synchronize_session=False)
        )
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


def new_secret() -> str:
    """Return 256 random bits as text."""
    return secrets.token_urlsafe(32)


def sha256(secret: str) -> str:
    """Return what the database holds of a secret; of 256 random bits nothing can be guessed from it."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _not_seen_lately() -> ColumnElement[bool]:
    return Session.last_seen_at < func.clock_timestamp() - literal(SEEN_AGAIN_AFTER, SqlInterval)


def _printable(text: str | None, longest: int) -> str | None:
    if text is None:
        return None
    return "".join(character for character in text if character.isprintable())[:longest]
