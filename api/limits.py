"""Refuses requests that are larger than what their address accepts, before they are read into memory."""

from __future__ import annotations

import contextlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import TOO_LARGE, problem
from app.services.model_files import LARGEST_FILE
from app.services.table import MAX_BYTES

LARGEST_BODY = 64 * 1024  # bytes
LARGEST_BATCH = 16 * 1024 * 1024  # bytes
_ENVELOPE = 64 * 1024  # bytes; what a form with a file in it has beside the file
# (method, path): bytes, where it is not `LARGEST_BODY`.
LARGER_BODIES: dict[tuple[str, str], int] = {
    ("POST", "/patients/import"): MAX_BYTES + _ENVELOPE,
    ("POST", "/predictions/batch"): LARGEST_BATCH,
    ("POST", "/models/import"): LARGEST_FILE + _ENVELOPE,
}
_SENTENCE = "The request is larger than any this address accepts."


class _BodyTooLarge(Exception):
    """More bytes arrived than a request may have."""


class BodyLimit:
    """Middleware that answers 413 as soon as a request's declared or received body is too large."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting what it sends."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        largest = _largest_body(scope)
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared[:20]) > largest:
            await problem(scope, TOO_LARGE, _SENTENCE)(scope, receive, send)
            return
        received = 0
        too_large = False

        async def counted() -> Message:
            nonlocal received, too_large
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > largest:
                    too_large = True
                    raise _BodyTooLarge
            return message

        async def unless_too_large(message: Message) -> None:
            # FastAPI turns what reading the body raises into an answer of its own.
            if not too_large:
                await send(message)

        with contextlib.suppress(_BodyTooLarge):
            await self.app(scope, counted, unless_too_large)
        if too_large:
            await problem(scope, TOO_LARGE, _SENTENCE)(scope, receive, send)


def _largest_body(scope: Scope) -> int:
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return LARGER_BODIES.get((scope["method"], path), LARGEST_BODY)
