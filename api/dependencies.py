"""What routes need before they begin: who is calling, and whether their role includes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.actor import Actor
from app.auth.tokens import actor_for_access_token
from app.databases import central_session
from app.errors import SessionEnded
from app.permissions import Permission
from app.services.paging import MAX_PAGE

_bearer = HTTPBearer(auto_error=False, description="The access_token that POST /auth/login answers.")

Cursor = Annotated[
    str | None, Query(max_length=100, description="next_cursor of the page before; none for the first page")
]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="rows on a page")]


def caller_address(request: Request) -> str | None:
    """Return the network address that the request came from; a proxy's, if there is one."""
    return request.client.host if request.client else None


def signed_in(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Actor:
    """Return who is calling, read from the database; raises `SessionEnded` without a valid token."""
    if credentials is None:
        raise SessionEnded("Sign in first: this needs an access token from POST /api/auth/login.")
    with central_session() as central:
        actor = actor_for_access_token(
            central, token=credentials.credentials, address=caller_address(request)
        )
    request.state.actor = actor
    return actor


def may(permission: Permission) -> Callable[[Actor], Actor]:
    """Return a dependency that answers 403 unless the caller's role has `permission`.

    Services ask too. Asked here, a wrong role is refused before the rest of the request is looked at.
    """

    def require(actor: Annotated[Actor, Depends(signed_in)]) -> Actor:
        actor.require(permission)
        return actor

    return require
