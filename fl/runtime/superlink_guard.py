"""Who may call what of SuperLink: Sites its Fleet API, this machine its Runtime API, the supervisor its Control API.

Flower serves all three on one port. Through the Control API anybody could have code run on the hub, and through the
Runtime API anybody could take a ServerApp's place; neither asks who is calling unless accounts are set up.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

# Environment variable by which the supervisor hands SuperLink the secret of its own calls, and their header.
CONTROL_SECRET = "FEDCOST_CONTROL_SECRET"  # noqa: S105 - a name
CONTROL_HEADER = "x-fedcost-control"

FLEET, CONTROL, HEALTH = "/v1/fleet/", "/v1/control/", "/health"
# Keys are registered by administrators of the consortium, not by whoever connects.
SELF_REGISTRATION = ("/v1/fleet/register-node", "/v1/fleet/unregister-node")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class CallerGuard:
    """Refuses a call by its path, its sender's address and the supervisor's secret, before its body is read."""

    def __init__(self, app: App, secret: str) -> None:
        self._app = app
        self._secret = secret.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, or answer 403."""
        if scope["type"] == "http" and not self._allowed(scope):
            await refuse(send, 403, b"This part of SuperLink is not for you.")
        else:
            await self._app(scope, receive, send)

    def _allowed(self, scope: Scope) -> bool:
        path: str = scope["path"]
        if path.startswith(FLEET):
            return path not in SELF_REGISTRATION
        if path == HEALTH:
            return True
        if path.startswith(CONTROL):
            given = dict(scope["headers"]).get(CONTROL_HEADER.encode(), b"")
            return hmac.compare_digest(given, self._secret)
        return is_this_machine(scope.get("client"))


class SenderGuard:
    """Refuses an answer that a SuperNode sends in another one's name; stands behind Flower's check of signatures."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, or answer 403."""
        if scope["type"] == "http" and scope["path"] == "/v1/fleet/push-messages":
            request = scope["state"].get("protobuf_request")
            signed_by = request.node.node_id if request is not None else None
            if request is None or any(
                message.metadata.src_node_id != signed_by for message in request.messages_list
            ):
                await refuse(send, 403, b"A SuperNode answers in its own name only.")
                return
        await self._app(scope, receive, send)


def is_this_machine(client: tuple[str, int] | None) -> bool:
    """Tell whether a caller's address is of this machine."""
    if client is None:
        return False
    try:
        return ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False


async def refuse(send: Send, status: int, reason: bytes) -> None:
    """Answer with a status and a sentence."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(reason)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": reason})
