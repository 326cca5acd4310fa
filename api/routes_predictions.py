"""Predicting a patient's yearly insurance cost, and the predictions made so far."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from api.dependencies import Cursor, GuardedRoute, Limit, May
from api.schemas import Items, features_of
from api.schemas_predictions import NewPredictionAnswer, PredictionAnswer, PredictionRequest
from app.actor import Actor
from app.databases import central_session, site_session
from app.permissions import Permission
from app.services import predictions

router = APIRouter(prefix="/predictions", tags=["predictions"], route_class=GuardedRoute)
Predictor = Annotated[Actor, Depends(May(Permission.PREDICT))]


@router.post("", response_model=NewPredictionAnswer)
def predict(actor: Predictor, request: PredictionRequest) -> Any:
    """Predict the cost of one patient with the model in use, and keep the prediction."""
    with central_session() as central, site_session(actor) as site:
        saved = predictions.predict_and_save(
            central=central,
            site=site,
            actor=actor,
            inputs=features_of(request),
            patient_id=request.patient_id,
        )
    answer = PredictionAnswer.model_validate(saved).model_dump()
    return {**answer, "cautions": predictions.cautions_for(saved.inputs)}


@router.get("/history", response_model=Items[PredictionAnswer])
def history(actor: Predictor, cursor: Cursor = None, limit: Limit = 20) -> Any:
    """List the hospital's predictions, the newest first."""
    with site_session(actor) as site:
        return predictions.history(site=site, actor=actor, cursor=cursor, limit=limit)
