"""Whether the service is up; needs no token and says nothing that a stranger may not know."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.schemas_auth import HealthAnswer
from app.databases import central_session
from app.errors import CentralUnavailable
from app.services import monitoring
from app.version import VERSION

router = APIRouter(tags=["health"])


@router.get("/health", responses={503: {"model": HealthAnswer}})
def health(response: Response) -> HealthAnswer:
    """Say whether the database answers and the federation is up."""
    try:
        with central_session() as central:
            federation = monitoring.federation(central=central).state
    except CentralUnavailable:
        response.status_code = 503
        return HealthAnswer(status="degraded", database="down", federation="down", version=VERSION)
    return HealthAnswer(status="ok", database="up", federation=federation, version=VERSION)
