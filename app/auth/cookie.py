"""The session cookie: HttpOnly, so no script reads it; set and cleared by two routes of ours.

It is SameSite=Strict: nothing that another site starts carries it. A link from elsewhere still leads to a signed-in
page, because the page itself opens the WebSocket that shows the cookie. Pages of other sites do not reach the routes:
`app.own_origin` stands before them.
"""

from __future__ import annotations

import json
import logging

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.auth.browser_cookie import browser_cookie_name
from app.auth.sessions import actor_for_token, redeem_ticket, sign_out
from app.databases import central_session
from app.errors import FedcostError, SessionEnded
from app.settings import get_settings

SESSION_PATH = "/auth/session"
SIGN_OUT_PATH = "/auth/sign-out"
_LARGEST_BODY = 1024  # bytes

logger = logging.getLogger(__name__)


def cookie_name() -> str:
    """Return the cookie's name; over TLS a browser takes the prefixed one only from this very host."""
    return "__Host-fedcost_session" if get_settings().cookie_secure else "fedcost_session"


async def start_cookie(request: Request) -> Response:
    """Trade a ticket, `{"ticket": ...}`, for the session cookie."""
    ticket = await _ticket_of(request)
    if ticket is None:
        return JSONResponse({"detail": "The request must be JSON with a ticket."}, 400)
    try:
        secret = await run_in_threadpool(_redeem, ticket, request.cookies.get(browser_cookie_name()))
    except SessionEnded as error:
        return JSONResponse({"detail": str(error)}, 401)
    except FedcostError as error:
        return JSONResponse({"detail": str(error)}, 503)
    response = Response(status_code=204)
    settings = get_settings()
    response.set_cookie(
        cookie_name(),
        secret,
        max_age=settings.session_hours * 3600,
        path="/",
        secure=settings.cookie_secure,
        httponly=True,
        samesite="strict",
    )
    return response


async def clear_cookie(request: Request) -> Response:
    """End the cookie's session, if it has not ended, and take the cookie away."""
    secret = request.cookies.get(cookie_name())
    if secret:
        try:
            await run_in_threadpool(_end, secret)
        except FedcostError as error:
            return JSONResponse({"detail": str(error)}, 503)
    response = Response(status_code=204)
    response.delete_cookie(
        cookie_name(), path="/", secure=get_settings().cookie_secure, httponly=True, samesite="strict"
    )
    return response


COOKIE_ROUTES = [
    Route(SESSION_PATH, start_cookie, methods=["POST"]),
    Route(SIGN_OUT_PATH, clear_cookie, methods=["POST"]),
]


def _redeem(ticket: str, browser: str | None) -> str:
    with central_session() as central:
        _, secret = redeem_ticket(central, ticket=ticket, browser=browser)
        return secret


def _end(secret: str) -> None:
    with central_session() as central:
        try:
            actor = actor_for_token(central, secret=secret)
        except SessionEnded:
            return
        sign_out(central, actor=actor)


async def _ticket_of(request: Request) -> str | None:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return None
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY:
            return None
    try:
        sent = json.loads(body)
    except ValueError:
        return None
    ticket = sent.get("ticket") if isinstance(sent, dict) else None
    return ticket if isinstance(ticket, str) and 0 < len(ticket) <= 100 else None
