"""Signing in, going on and signing out for API clients."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from api.dependencies import May, caller_address
from api.routing import Routes
from api.schemas import errors
from api.schemas_auth import LoginRequest, RefreshRequest, TokenAnswer
from api.tokens import first_tokens, next_tokens
from app.actor import Actor
from app.auth.refresh import refresh
from app.auth.sessions import sign_out
from app.auth.sign_in import verify_credentials
from app.databases import central_session
from app.permissions import Permission

router = Routes("/auth", "auth", guarded=False)
# What needs a token; the two above it are how one is got.
signed_in = Routes("/auth", "auth")


@router.post("/login", responses=errors(400, 401, 413, 422, 503, token=False))
def login(request: Request, credentials: LoginRequest) -> TokenAnswer:
    """Trade e-mail and password for a short-lived access token and a refresh token."""
    with central_session() as central:
        worker = verify_credentials(
            central,
            email=credentials.email,
            password=credentials.password,
            address=caller_address(request),
        )
        return first_tokens(central, worker=worker, request=request)


@router.post("/refresh", responses=errors(400, 401, 413, 422, 503, token=False))
def refresh_tokens(request: Request, brought: RefreshRequest) -> TokenAnswer:
    """Trade a refresh token, once, for the next pair; a token that comes a second time ends the session."""
    with central_session() as central:
        refreshed = refresh(central, token=brought.refresh_token, address=caller_address(request))
    return next_tokens(refreshed)


@signed_in.post("/logout", status_code=204, responses=errors(503))
def logout(actor: Annotated[Actor, Depends(May(Permission.OWN_ACCOUNT))]) -> None:
    """End the session of the access token, and with it all its tokens."""
    with central_session() as central:
        sign_out(central, actor=actor)
