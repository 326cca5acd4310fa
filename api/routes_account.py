"""Your own account: who you are, your password, and where you are signed in."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import Depends, Request

from api.dependencies import May
from api.routing import Routes
from api.schemas import errors
from api.schemas_auth import AccountAnswer, PasswordChange, SessionAnswer, TokenAnswer
from api.schemas_workers import EndedAnswer
from api.tokens import first_tokens
from app.actor import Actor
from app.auth.own_password import change_own_password
from app.databases import central_session
from app.permissions import Permission
from app.services import worker_sessions

router = Routes("/account", "account")
Anybody = Annotated[Actor, Depends(May(Permission.OWN_ACCOUNT))]


@router.get("", response_model=AccountAnswer, responses=errors(503))
def read_account(actor: Anybody) -> Any:
    """Say who the access token belongs to."""
    return actor


@router.put("/password", responses=errors(400, 413, 422, 503))
def change_password(actor: Anybody, request: Request, change: PasswordChange) -> TokenAnswer:
    """Change the password, which ends every session and token; the answer is the next pair for this client."""
    with central_session() as central:
        worker = change_own_password(
            central, actor=actor, present=change.present_password, new=change.new_password
        )
        return first_tokens(central, worker=worker, request=request)


@router.get("/sessions", response_model=list[SessionAnswer], responses=errors(503))
def list_sessions(actor: Anybody) -> Any:
    """List where you are signed in: this one first, then the last used; at most 100."""
    with central_session() as central:
        return worker_sessions.own_sessions(central=central, actor=actor)


@router.delete("/sessions", responses=errors(503))
def end_other_sessions(actor: Anybody) -> EndedAnswer:
    """Sign out everywhere else."""
    with central_session() as central:
        return EndedAnswer(ended=worker_sessions.end_other_sessions(central=central, actor=actor))


@router.delete("/sessions/{session_id}", status_code=204, responses=errors(404, 422, 503))
def end_session(actor: Anybody, session_id: uuid.UUID) -> None:
    """End one of your sessions with all its tokens."""
    with central_session() as central:
        worker_sessions.end_own_session(central=central, actor=actor, session_id=session_id)
