"""The model in use."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from api.dependencies import GuardedRoute, May
from api.schemas import errors
from api.schemas_models import ModelMetricsAnswer, ModelStatusAnswer
from app.actor import Actor
from app.databases import central_session
from app.permissions import Permission
from app.services import models

router = APIRouter(prefix="/model", tags=["model"], route_class=GuardedRoute)
Reader = Annotated[Actor, Depends(May(Permission.MODEL_CARD))]


@router.get("/status", response_model=ModelStatusAnswer, responses=errors(503))
def model_status(actor: Reader) -> Any:
    """Say whether a model is in use, and which."""
    with central_session() as central:
        return models.model_status(central=central, actor=actor)


@router.get("/metrics", response_model=ModelMetricsAnswer, responses=errors(409, 503))
def model_metrics(actor: Reader) -> Any:
    """Say how good the model in use is; 409 if there is none."""
    with central_session() as central:
        return models.model_metrics(central=central, actor=actor)
