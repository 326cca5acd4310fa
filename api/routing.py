"""Routers of the API: routes are called by the names of their functions, and guarded unless said otherwise."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from api.dependencies import GuardedRoute


class Routes(APIRouter):
    """Routes below a common address, under one heading of the description."""

    def __init__(self, prefix: str, tag: str, *, guarded: bool = True) -> None:
        super().__init__(
            prefix=prefix,
            tags=[tag],
            route_class=GuardedRoute if guarded else APIRoute,
            generate_unique_id_function=lambda route: route.name,
        )


def add_routes(api: FastAPI, routes: Routes) -> None:
    """Have an application serve routes as they are.

    FastAPI's `include_router` keeps a router as one entry and asks it at each request, which for our routers took a
    quarter of the time of a request that does little.
    """
    api.router.routes.extend(routes.routes)
