"""Refresh tokens: each is traded once for the next; whoever brings a used one ends the whole session."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session as DatabaseSession

from app.actor import Actor
from app.auth.account_events import record_of
from app.auth.sessions import ENDED, actor_for_session, end_session, new_secret, sha256
from app.errors import SessionEnded
from db.accounts import RefreshToken
from db.central import MedicalWorker, Session
from db.states import SessionEnd

REUSED = (
    "This refresh token was used before. Somebody else may have it, so the session has ended. Sign in again."
)


@dataclass(frozen=True)
class Refreshed:
    """Who goes on, and the refresh token to use next."""

    actor: Actor
    refresh_token: str
    expires_in: int  # seconds


def issue_refresh_token(central: DatabaseSession, *, session_id: uuid.UUID) -> tuple[str, int]:
    """Return a new refresh token of a session, and the seconds until it, with the session, expires."""
    token = new_secret()
    expires_at = select(Session.expires_at).where(Session.id == session_id).scalar_subquery()
    seconds = central.scalar(
        insert(RefreshToken)
        .values(session_id=session_id, token_sha256=sha256(token), expires_at=expires_at)
        .returning(func.extract("epoch", RefreshToken.expires_at - func.clock_timestamp()))
    )
    return token, int(seconds or 0)


def refresh(central: DatabaseSession, *, token: str, address: str | None = None) -> Refreshed:
    """Trade a refresh token for the next one; of two trades at once exactly one succeeds.

    The other one has brought a used token, like somebody who had stolen it: the database cannot tell them apart,
    and ends the session for both.

    Raises
    ------
    SessionEnded
        If the token is unknown, expired or used, or its session has ended.
    """
    session_id = central.scalar(
        update(RefreshToken)
        .where(
            RefreshToken.token_sha256 == sha256(token),
            RefreshToken.used_at.is_(None),
            RefreshToken.expires_at > func.clock_timestamp(),
        )
        .values(used_at=func.clock_timestamp())
        .returning(RefreshToken.session_id)
    )
    if session_id is None:
        _end_family_of_used(central, token, address)
        raise SessionEnded(ENDED)
    actor = actor_for_session(central, session_id=session_id, address=address)
    following, expires_in = issue_refresh_token(central, session_id=session_id)
    return Refreshed(actor, following, expires_in)


def _end_family_of_used(central: DatabaseSession, token: str, address: str | None) -> None:
    used = central.execute(
        select(Session.id, MedicalWorker)
        .join(RefreshToken, RefreshToken.session_id == Session.id)
        .join(MedicalWorker, MedicalWorker.id == Session.worker_id)
        .where(RefreshToken.token_sha256 == sha256(token), RefreshToken.used_at.is_not(None))
    ).first()
    if used is None:
        return
    session_id, worker = used
    if end_session(central, session_id=session_id, reason=SessionEnd.TOKEN_REUSED):
        record_of(central, worker, "refresh_token_reused", outcome="refused", address=address)
    central.commit()
    raise SessionEnded(REUSED)
