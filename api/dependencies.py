"""What routes need before they begin: who is calling, and whether their role includes it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Query, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.idempotency import answered_once
from api.quick_threads import in_quick_thread
from app.actor import Actor
from app.auth.tokens import actor_for_access_token
from app.databases import central_lookup
from app.errors import SessionEnded
from app.permissions import Permission
from app.services.paging import MAX_PAGE
from app.waiting import outlasting, outlasting_async

_bearer = HTTPBearer(auto_error=False, description="The access_token that POST /auth/login answers.")

Cursor = Annotated[
    str | None,
    Query(
        max_length=100,
        description="next_cursor or previous_cursor of the page before; none for the first page",
    ),
]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="rows on a page")]


def caller_address(request: Request) -> str | None:
    """Return the network address that the request came from; a proxy's, if there is one."""
    return request.client.host if request.client else None


class May:
    """A dependency that gives the caller to a route that needs `permission`; its route is a `GuardedRoute`."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    async def __call__(
        self, request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> Actor:
        """Return who is calling."""
        actor: Actor = request.state.actor
        actor.require(self.permission)
        return actor


class GuardedRoute(APIRoute):
    """A route that knows who is calling, and whether they may, before anything else of the request is looked at.

    FastAPI reads and parses a body before the first dependency runs. Services ask for the permission too.
    """

    @property
    def permissions(self) -> tuple[Permission, ...]:
        """What a caller's role must include."""
        calls = (dependency.call for dependency in self.dependant.dependencies)
        return tuple(call.permission for call in calls if isinstance(call, May))

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request of this route."""
        answer = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            credentials = await _bearer(request)
            # Asking again who is calling changes nothing.
            await in_quick_thread(
                lambda: outlasting(lambda: _admit(request, credentials, self.permissions), repeatable=True)
            )
            if "\0" in request.scope["path"]:
                raise HTTPException(404)  # no id has it, and no database takes it
            return await answered_once(
                request,
                self.path,
                lambda: outlasting_async(
                    lambda: answer(request), repeatable=request.method in ("GET", "HEAD")
                ),
            )

        return guarded


def _admit(
    request: Request,
    credentials: HTTPAuthorizationCredentials | None,
    permissions: tuple[Permission, ...],
) -> None:
    """Note on the request who is calling, read from the database.

    Raises `SessionEnded`, `TooManyRequests`, `PermissionRefused`.
    """
    if credentials is None:
        raise SessionEnded("Sign in first: this needs an access token from POST /api/auth/login.")
    with central_lookup() as central:
        actor = actor_for_access_token(
            central, token=credentials.credentials, address=caller_address(request)
        )
    request.state.actor = actor
    request.state.rates.count_worker(actor.worker_id)
    for permission in permissions:
        actor.require(permission)
