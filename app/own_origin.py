"""Refuses what pages of other sites have a browser send: the WebSocket of the pages, and writes beside the API."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.settings import get_settings

_API = "/api/"  # takes no cookie, so another site has nothing to send there
_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})
_POLICY_VIOLATION = 1008
_REFUSED = {"detail": "This request did not come from this page."}


class OwnOriginOnly:
    """Middleware that lets only this address's own pages open a WebSocket or change anything.

    A browser sends the session's cookie along with a WebSocket that any page opens, also one of another port of the
    same machine, which counts as the same site. Streamlit accepts other origins of this machine, and none at all.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "websocket" and not _is_own(scope, without=False):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        elif scope["type"] == "http" and _changes(scope) and not _is_own(scope, without=True):
            await JSONResponse(_REFUSED, 403)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _changes(scope: Scope) -> bool:
    return scope["method"] not in _HARMLESS and not scope["path"].startswith(_API)


def _is_own(scope: Scope, *, without: bool) -> bool:
    """Tell whether the origin is the address that the request was sent to, or the one that people know.

    `without` is the answer if it has none.
    """
    headers = Headers(scope=scope)
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origins, hosts = headers.getlist("origin"), headers.getlist("host")
    if not origins:
        return without
    if not len(origins) == len(hosts) == 1:
        return False
    try:
        # The scheme is left out: behind a proxy the page came over TLS, and this request does not.
        sender = urlsplit(origins[0]).netloc
    except ValueError:
        return False
    known = (hosts[0], urlsplit(get_settings().public_url or "").netloc)
    return sender != "" and sender.lower() in (address.lower() for address in known)
