"""The web application: Streamlit's pages, the REST API and the sign-in cookie on one port.

`python -m streamlit run app/main.py` from the project's root starts it.
"""

from __future__ import annotations

import gc
import importlib
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from threadpoolctl import threadpool_limits

from api.app import create_api
from app.auth.browser_cookie import BrowserCookie
from app.auth.cookie import COOKIE_ROUTES
from app.auth.openid_settings import streamlit_secrets
from app.client_address import ClientAddress
from app.errors import FedcostError
from app.federation_child import supervisor_running
from app.headers import HEADERS, SecurityHeaders
from app.housekeeping import housekeeping_running
from app.log_privacy import log_fault
from app.metrics_endpoint import metrics_served
from app.operations_record import operations_recorded
from app.own_origin import OwnOriginOnly
from app.plotly_library import PLOTLY_ROUTES
from app.request_id import HEADER, RequestIds, request_id_of
from app.request_log import RequestLog, route_of
from app.settings import PROJECT_ROOT, get_settings
from app.web_log import configure_web_log

# What the pages import on first use. Loaded and frozen here, Streamlit's garbage collection after every rerun
# does not walk over it: a quarter of the processor time of a rerun.
PRELOADED = ("pandas", "plotly.graph_objects", "pyarrow")

logger = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[dict[str, Any]]:
    """Warm up, and run the supervisor of the federation beside the server if the settings say so."""
    configure_web_log()
    settings = get_settings()
    for name in PRELOADED:
        importlib.import_module(name)
    # The model's matrices are small: a second thread saves little on a quiet machine, and on a busy one each
    # product waits until both threads have had a turn.
    threadpool_limits(1, user_api="blas")
    gc.collect()
    gc.freeze()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(housekeeping_running())
        stack.enter_context(metrics_served(settings))
        await stack.enter_async_context(operations_recorded())
        if settings.federation:
            await stack.enter_async_context(supervisor_running(settings))
        yield {}


def show_page_error(error: Exception) -> bool:
    """Show a sentence instead of an exception that a page let through; returns True: nothing else is shown."""
    if isinstance(error, FedcostError):
        st.error(str(error))
        return True
    reference = log_fault(logger, error, at="a page")
    st.error(f"Something went wrong on our side. Please report reference {reference}.")
    return True


async def answer_server_error(request: Request, error: Exception) -> PlainTextResponse:
    """Answer an exception outside of pages and API with a sentence."""
    reference = log_fault(logger, error, at=route_of(request.scope, request.url.path))
    # Middleware adds nothing to this answer: it is made outside of it.
    return PlainTextResponse(
        f"Something went wrong on our side. Please report reference {reference}.",
        status_code=500,
        headers={**HEADERS, HEADER: request_id_of(request.scope)},
    )


app = st.App(
    PROJECT_ROOT / "app" / "ui.py",
    lifespan=lifespan,
    secrets=streamlit_secrets(),
    routes=[*COOKIE_ROUTES, *PLOTLY_ROUTES, Mount("/api", create_api())],
    middleware=[
        Middleware(RequestIds),
        Middleware(ClientAddress),
        Middleware(RequestLog),
        Middleware(SecurityHeaders),
        Middleware(BrowserCookie),
        Middleware(OwnOriginOnly),
    ],
    on_script_error=show_page_error,
    exception_handlers={Exception: answer_server_error},
)
