"""From which network address a request came: a proxy's word for it counts only if the settings trust that proxy."""

from __future__ import annotations

from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.settings import get_settings


class ClientAddress:
    """Middleware that reads X-Forwarded-For and X-Forwarded-Proto of a peer in `trusted_proxies`, and of no other.

    `scope["client"]` is right below it, so pages, sign-in, limits and audit all see the same address. The server's own
    such middleware would believe any process on this machine: FORWARDED_ALLOW_IPS is empty where we start it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._behind: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with the client's address."""
        if self._behind is None:
            proxies = list(get_settings().trusted_proxies)
            trusting = ProxyHeadersMiddleware(self.app, trusted_hosts=proxies)  # type: ignore[arg-type]
            self._behind = cast(ASGIApp, trusting)
        await self._behind(scope, receive, send)
