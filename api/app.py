"""The REST API as one FastAPI application, mounted under `/api` beside the pages."""

from __future__ import annotations

from fastapi import FastAPI

from api import (
    errors,
    routes_auth,
    routes_health,
    routes_models,
    routes_patients,
    routes_predictions,
    routes_training,
)
from api.limits import BodyLimit
from api.schemas import ErrorBody
from app.version import VERSION


def create_api() -> FastAPI:
    """Return the API; a deployment and each test have their own."""
    api = FastAPI(
        title="Fedcost",
        version=VERSION,
        description="Insurance cost prediction trained across hospitals that show each other no patient.",
        docs_url="/docs",
        redoc_url=None,
        openapi_url="/openapi.json",
        responses={"4XX": {"model": ErrorBody}},
    )
    api.add_middleware(BodyLimit)
    errors.install(api)
    for routes in (
        routes_health,
        routes_auth,
        routes_patients,
        routes_predictions,
        routes_models,
        routes_training,
    ):
        api.include_router(routes.router)
    return api
