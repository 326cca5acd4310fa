"""The cookie by which a browser is known before anybody signs in, so that a ticket can be made for it alone."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.auth.sessions import new_secret
from app.settings import get_settings


def browser_cookie_name() -> str:
    """Return the cookie's name; over TLS a browser takes the prefixed one only from this very host."""
    return "__Host-fedcost_browser" if get_settings().cookie_secure else "fedcost_browser"


class BrowserCookie:
    """Middleware that gives the cookie with a page to a browser that has none.

    It is SameSite=Lax, so that a browser which comes over a link from elsewhere shows the one it has; the cookie of a
    session is Strict.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and add to the answer."""
        if scope["type"] != "http" or not _wants_a_new_one(Request(scope)):
            await self.app(scope, receive, send)
            return

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("set-cookie", _cookie())
            await send(message)

        await self.app(scope, receive, with_cookie)


def _wants_a_new_one(request: Request) -> bool:
    # By what is asked for: a page that the browser has kept is answered without a type.
    is_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    return is_page and not request.cookies.get(browser_cookie_name())


def _cookie() -> str:
    answer = Response()
    answer.set_cookie(
        browser_cookie_name(),
        new_secret(),
        path="/",
        secure=get_settings().cookie_secure,
        httponly=True,
        samesite="lax",
    )
    return answer.headers["set-cookie"]
