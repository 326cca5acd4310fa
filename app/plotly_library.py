"""Plotly's JavaScript, from the installed package and this server: no page loads anything from elsewhere."""

from __future__ import annotations

import gzip
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PLOTLY_PATH = f"/library/plotly-{version('plotly')}.min.js"
# The address changes with the version, so a browser asks once.
_HEADERS = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}


@lru_cache(maxsize=1)
def _packed() -> bytes:
    return gzip.compress(_library(), 6)


def _library() -> bytes:
    return files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()


async def send_plotly(request: Request) -> Response:
    """Answer with the library, packed for a browser that unpacks it; it holds nothing of ours."""
    headers = dict(_HEADERS)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        content = await run_in_threadpool(_packed)
    else:
        content = await run_in_threadpool(_library)
    return Response(content, media_type="text/javascript", headers=headers)


PLOTLY_ROUTES = [Route(PLOTLY_PATH, send_plotly, methods=["GET"])]
