"""The pair of tokens that a client gets: one to send with requests, one to get the next pair with."""

from __future__ import annotations

import uuid

from sqlalchemy.orm import Session

from api.schemas_auth import TokenAnswer
from app.auth.refresh import Refreshed, issue_refresh_token
from app.auth.sessions import actor_for_session
from app.auth.tokens import issue_access_token


def first_tokens(central: Session, *, session_id: uuid.UUID, address: str | None) -> TokenAnswer:
    """Return the pair of a session that has just been opened."""
    actor = actor_for_session(central, session_id=session_id, address=address)
    return next_tokens(Refreshed(actor, *issue_refresh_token(central, session_id=session_id)))


def next_tokens(refreshed: Refreshed) -> TokenAnswer:
    """Return the pair that follows a refresh token."""
    access, expires_in = issue_access_token(refreshed.actor)
    return TokenAnswer(
        access_token=access,
        expires_in=expires_in,
        refresh_token=refreshed.refresh_token,
        refresh_expires_in=refreshed.expires_in,
    )
