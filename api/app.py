"""The REST API as one FastAPI application, mounted under `/api` beside the pages."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp

from api import (
    errors,
    routes_account,
    routes_audit,
    routes_auth,
    routes_batch,
    routes_cohort,
    routes_erasure,
    routes_health,
    routes_import,
    routes_institutions,
    routes_models,
    routes_patients,
    routes_predictions,
    routes_problems,
    routes_registry,
    routes_retention,
    routes_supernode_keys,
    routes_system,
    routes_training,
    routes_triggers,
    routes_workers,
)
from api.document import complete
from api.document_page import document_page
from api.limits import BodyLimit
from api.rate_limits import AddressLimit
from api.routing import add_routes
from app.request_id import RequestIds
from app.version import VERSION

ROUTERS = (
    routes_health.router,
    routes_auth.router,
    routes_auth.signed_in,
    routes_account.router,
    routes_patients.router,
    routes_erasure.router,
    routes_import.router,
    routes_predictions.router,
    routes_batch.router,
    routes_models.router,
    routes_registry.router,
    routes_training.router,
    routes_cohort.router,
    routes_triggers.router,
    routes_institutions.router,
    routes_workers.router,
    routes_audit.router,
    routes_system.router,
    routes_retention.router,
    routes_supernode_keys.router,
    routes_problems.router,
)


class _Api(FastAPI):
    """Describes also what no route says of itself."""

    def openapi(self) -> dict[str, Any]:
        """Return the description of the API, made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            complete(document)
        return super().openapi()

    def build_middleware_stack(self) -> ASGIApp:
        """Put the request's id around everything, also around what answers mistakes of ours."""
        return RequestIds(super().build_middleware_stack())


def create_api() -> FastAPI:
    """Return the API; a deployment and each test have their own."""
    api = _Api(
        title="Fedcost",
        version=VERSION,
        description="Insurance cost prediction trained across hospitals that show each other no patient.",
        docs_url=None,  # FastAPI's own page loads its scripts from another host
        redirect_slashes=False,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    api.add_middleware(BodyLimit)
    api.add_middleware(AddressLimit)
    errors.install(api)
    api.add_route("/docs", _show_document, include_in_schema=False)
    for router in ROUTERS:
        add_routes(api, router)
    return api


async def _show_document(request: Request) -> HTMLResponse:
    base = str(request.url).partition("?")[0].removesuffix("/docs")
    return HTMLResponse(document_page(request.app.openapi(), base=base))
