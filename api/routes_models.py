"""The model in use."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query

from api.dependencies import Cursor, Limit, May
from api.routing import Routes
from api.schemas import Items, errors
from api.schemas_models import ModelCardAnswer, ModelMetricsAnswer, ModelStatusAnswer, VersionAnswer
from app.actor import Actor
from app.databases import central_read_session, central_session
from app.permissions import Permission
from app.services import model_card, models

router = Routes("/model", "model")
VERSION_NAME = r"^[!-~]+$"
Reader = Annotated[Actor, Depends(May(Permission.MODEL_CARD))]
Comparer = Annotated[Actor, Depends(May(Permission.MODELS_READ))]


@router.get("/status", response_model=ModelStatusAnswer, responses=errors(503))
def model_status(actor: Reader) -> Any:
    """Say whether a model is in use, and which."""
    with central_session() as central:
        return models.model_status(central=central, actor=actor)


@router.get("/metrics", response_model=ModelMetricsAnswer, responses=errors(409, 503))
def model_metrics(actor: Reader) -> Any:
    """Say how good the model in use is; 409 if there is none."""
    with central_read_session() as central:
        return models.model_metrics(central=central, actor=actor)


@router.get("/card", response_model=ModelCardAnswer, responses=errors(404, 409, 422, 503))
def card(
    actor: Reader,
    version: Annotated[
        str | None,
        Query(
            max_length=50,
            pattern=VERSION_NAME,
            description="a version that is or was in use; none: the one in use",
        ),
    ] = None,
) -> Any:
    """Describe a model version: who trained it, how good it is for whom, and how wide its intervals are."""
    with central_session() as central:
        return model_card.model_card(central=central, actor=actor, version=version)


@router.get("/versions", response_model=Items[VersionAnswer], responses=errors(422, 503))
def versions(actor: Comparer, cursor: Cursor = None, limit: Limit = 20) -> Any:
    """List every model version, the newest first, in use or not."""
    with central_session() as central:
        return models.list_versions(central=central, actor=actor, cursor=cursor, limit=limit)
