"""Signing in for API clients."""

from __future__ import annotations

from fastapi import APIRouter, Request

from api.dependencies import caller_address
from api.schemas import errors
from api.schemas_auth import LoginAnswer, LoginRequest
from app.auth.sessions import actor_for_session, open_session
from app.auth.sign_in import verify_credentials
from app.auth.tokens import access_token_lifetime, issue_access_token
from app.databases import central_session

router = APIRouter(prefix="/auth", tags=["auth"])


@router.post("/login", responses=errors(400, 401, 413, 422, 503, token=False))
def login(request: Request, credentials: LoginRequest) -> LoginAnswer:
    """Trade e-mail and password for a short-lived access token."""
    address = caller_address(request)
    with central_session() as central:
        worker = verify_credentials(
            central, email=credentials.email, password=credentials.password, address=address
        )
        session, _ = open_session(
            central,
            worker=worker,
            user_agent=request.headers.get("user-agent"),
            lifetime=access_token_lifetime(),
        )
        actor = actor_for_session(central, session_id=session.id, address=address)
    token, expires_in = issue_access_token(actor)
    return LoginAnswer(access_token=token, expires_in=expires_in)
