"""The pair of tokens that a client gets: one to send with requests, one to get the next pair with."""

from __future__ import annotations

from fastapi import Request
from sqlalchemy.orm import Session

from api.dependencies import caller_address
from api.schemas_auth import TokenAnswer
from app.auth.refresh import Refreshed, issue_refresh_token
from app.auth.sessions import actor_for_session, open_session
from app.auth.tokens import issue_access_token
from db.central import MedicalWorker
from db.states import SessionKind


def first_tokens(central: Session, *, worker: MedicalWorker, request: Request) -> TokenAnswer:
    """Open a session for the client that sent a request, and return its first pair."""
    address = caller_address(request)
    session, _ = open_session(
        central,
        worker=worker,
        kind=SessionKind.API,
        user_agent=request.headers.get("user-agent"),
        address=address,
    )
    actor = actor_for_session(central, session_id=session.id, address=address)
    return next_tokens(Refreshed(actor, *issue_refresh_token(central, session_id=session.id)))


def next_tokens(refreshed: Refreshed) -> TokenAnswer:
    """Return the pair that follows a refresh token."""
    access, expires_in = issue_access_token(refreshed.actor)
    return TokenAnswer(
        access_token=access,
        expires_in=expires_in,
        refresh_token=refreshed.refresh_token,
        refresh_expires_in=refreshed.expires_in,
    )
