"""The id of a request: the client's own or one made here, sent back with every answer and kept for logs and audit."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-ID"
ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY = "fedcost.request_id"  # in the scope, which error handlers outside of this middleware see too
_current: ContextVar[str | None] = ContextVar("request_id", default=None)


def current_request_id() -> str | None:
    """Return the id of the request that is being answered, or of the page's rerun; None outside of both."""
    return _current.get()


@contextmanager
def rerun_id() -> Iterator[None]:
    """Give a rerun of a page, its fragment or its callback an id, as `RequestIds` gives one to a request.

    Within another it keeps that one's.
    """
    if _current.get() is not None:
        yield
        return
    token = _current.set(uuid.uuid4().hex)
    try:
        yield
    finally:
        _current.reset(token)


def request_id_of(scope: Scope) -> str:
    """Return the id that `RequestIds` gave to a request."""
    return str(scope[_KEY])


class RequestIds:
    """Middleware that gives every request its id; within another of its kind it keeps that one's."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and name its id in the answer."""
        if scope["type"] != "http" or _KEY in scope:
            await self.app(scope, receive, send)
            return
        request_id = scope[_KEY] = _accepted(Headers(scope=scope).get(HEADER)) or uuid.uuid4().hex

        async def with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        token = _current.set(request_id)
        try:
            await self.app(scope, receive, with_id)
        finally:
            _current.reset(token)


def _accepted(sent: str | None) -> str | None:
    # Anything else could break a line of a log or of a header.
    return sent if sent is not None and ACCEPTED.fullmatch(sent) else None
