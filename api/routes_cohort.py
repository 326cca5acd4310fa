"""What the hospitals' patients are like, before any training."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends

from api.dependencies import May
from api.routing import Routes
from api.schemas import errors
from api.schemas_cohort import CohortAnswer
from app.actor import Actor
from app.databases import central_read_session
from app.permissions import Permission
from app.services import cohort

router = Routes("/cohort", "training")
Reader = Annotated[Actor, Depends(May(Permission.COHORT_READ))]


@router.get("", response_model=CohortAnswer, responses=errors(404, 503))
def newest_cohort(actor: Reader) -> Any:
    """Say what the hospitals' patients are like, as they were last counted; 404 if they never were."""
    with central_read_session() as central:
        return cohort.cohort(central=central, actor=actor)
