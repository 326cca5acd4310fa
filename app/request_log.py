"""One line for each request that was answered: method, route, status, time and who; never an address's query."""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.measures import METHODS, request_answered

logger = logging.getLogger(__name__)

# The front end's own files, and what monitors ask every few seconds.
NOT_WORTH_A_LINE = ("/static/", "/_stcore/", "/component/", "/vendor/")
HEALTH_ROUTES = ("/api/health", "/api/ready")
UNMATCHED = "unmatched"
PAGE = "page"
_API = "/api"
# Addresses outside the API that are routes of their own; all others are pages of the front end.
_NAMED = ("/auth/session", "/auth/sign-out")


class RequestLog:
    """Middleware that times each request and writes its line once the answer has begun."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and remember the status of its answer."""
        if scope["type"] != "http" or scope["path"].startswith(NOT_WORTH_A_LINE):
            await self.app(scope, receive, send)
            return
        path, begun, status = scope["path"], time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            _record(scope, path, status, time.perf_counter() - begun)


def _record(scope: Scope, path: str, status: int, seconds: float) -> None:
    route = route_of(scope, path)
    request_answered(method=scope["method"], route=route, status=status, seconds=seconds)
    if route in HEALTH_ROUTES and status < 400:
        return
    method = scope["method"] if scope["method"] in METHODS else "other"
    level = logging.ERROR if status >= 500 else logging.INFO
    extra: dict[str, Any] = {
        "method": method,
        "route": route,
        "status": status,
        "milliseconds": round(1000 * seconds, 1),
    }
    actor = scope.get("state", {}).get("actor")
    if actor is not None:
        extra["worker_id"] = actor.worker_id
    logger.log(level, "%s %s %d", method, route, status, extra=extra)


def route_of(scope: Scope, path: str) -> str:
    """Return the template of the route that answered, such as `/api/patients/{patient_id}`, never the path itself."""
    if path.startswith(_API):
        template = getattr(scope.get("route"), "path", None)
        return f"{_API}{template}" if isinstance(template, str) else UNMATCHED
    return path if path in _NAMED else PAGE
