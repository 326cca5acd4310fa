"""Whether the service is up; needs no token and says nothing that a stranger may not know."""

from __future__ import annotations

from fastapi import Response

from api.routing import Routes
from api.schemas_auth import HealthAnswer, ReadyAnswer
from app.databases import central_session
from app.errors import CentralUnavailable
from app.services import monitoring, system
from app.version import VERSION

router = Routes("", "health", guarded=False)


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


@router.get("/ready", responses={503: {"model": ReadyAnswer}})
def ready(response: Response) -> ReadyAnswer:
    """Say whether requests may be sent here: the database answers and has the schema that this software wants."""
    try:
        with central_session() as central:
            found = system.readiness(central=central)
    except CentralUnavailable:
        response.status_code = 503
        return ReadyAnswer(status="not_ready", database="down", schema_current=False)
    if not found.ready:
        response.status_code = 503
    return ReadyAnswer(
        status="ready" if found.ready else "not_ready", database="up", schema_current=found.ready
    )
