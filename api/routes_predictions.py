"""Predicting a patient's yearly insurance cost, and the predictions made so far."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query, Response

from api.dependencies import May
from api.files import DOWNLOAD_RESPONSE, download
from api.filters import AccuracyQuery, HistoryExportQuery, HistoryQuery, prediction_filter
from api.quick_threads import in_quick_thread
from api.routing import Routes
from api.schemas import Items, errors, features_of
from api.schemas_predictions import (
    AccuracyAnswer,
    ExplanationAnswer,
    FeaturesRequest,
    NewPredictionAnswer,
    OutcomeAnswer,
    PredictionAnswer,
    PredictionRequest,
    outcome_answer,
)
from app.actor import Actor
from app.databases import central_lookup, central_session, site_session
from app.permissions import Permission
from app.services import explanations, prediction_history, predictions
from app.waiting import outlasting
from db.site import Prediction
from fl.features import FEATURE_NAMES

router = Routes("/predictions", "predictions")
Predictor = Annotated[Actor, Depends(May(Permission.PREDICT))]
Exporter = Annotated[Actor, Depends(May(Permission.PATIENTS_EXPORT))]

_MADE = ("id", "created_at", "worker_name", "model_version", "patient_id")
_FOUND = (
    "predicted_cost",
    "interval_low",
    "interval_high",
    "actual_cost",
    "error",
    "covered",
    "known_before",
)


@router.post("", response_model=NewPredictionAnswer, responses=errors(400, 404, 409, 413, 422, 503))
async def predict(actor: Predictor, request: PredictionRequest) -> Any:
    """Predict the cost of one patient with the model in use, and keep the prediction."""
    prediction_id = predictions.new_prediction_id()

    def keep() -> Prediction:
        with central_lookup() as central, site_session(actor, in_one_statement=True) as site:
            return predictions.predict_and_save(
                central=central,
                site=site,
                actor=actor,
                inputs=features_of(request),
                patient_id=request.patient_id,
                prediction_id=prediction_id,
            )

    saved = await in_quick_thread(lambda: outlasting(keep, repeatable=True))
    made = vars(PredictionAnswer.model_validate(saved))
    answer = NewPredictionAnswer(**made, cautions=predictions.cautions_for(saved.inputs))
    # Checked and written here: FastAPI would do it again.
    return Response(answer.model_dump_json(), media_type="application/json")


@router.post("/explain", response_model=ExplanationAnswer, responses=errors(400, 409, 413, 422, 503))
def explain(actor: Predictor, request: FeaturesRequest) -> Any:
    """Predict the cost of one patient and say what it is made of and what would change it; keeps nothing."""
    with central_session() as central:
        prediction, explanation = explanations.explain(
            central=central, actor=actor, inputs=features_of(request)
        )
    low, high = prediction.interval or (None, None)
    return {**vars(prediction), **vars(explanation), "interval_low": low, "interval_high": high}


@router.get("/history", response_model=Items[OutcomeAnswer], responses=errors(422, 503))
def history(actor: Predictor, query: Annotated[HistoryQuery, Query()]) -> Any:
    """List the hospital's predictions, the newest first, each beside the actual cost once it is known."""
    with site_session(actor) as site:
        page = prediction_history.history(
            site=site, actor=actor, filter=prediction_filter(query), cursor=query.cursor, limit=query.limit
        )
    return {**vars(page), "items": [outcome_answer(outcome) for outcome in page.items]}


@router.get("/export", response_class=Response, responses={**DOWNLOAD_RESPONSE, **errors(422, 503)})
def export_history(actor: Exporter, query: Annotated[HistoryExportQuery, Query()]) -> Response:
    """Download every prediction of a filter as CSV or Excel; who did so, and how many, is kept."""
    with site_session(actor) as site:
        outcomes = prediction_history.history_for_export(
            site=site, actor=actor, filter=prediction_filter(query)
        )
        return download(
            (*_MADE, "patient_name", *FEATURE_NAMES, *_FOUND),
            (_cells(outcome) for outcome in outcomes),
            name="predictions",
            format=query.format,
        )


@router.get("/accuracy", response_model=AccuracyAnswer, responses=errors(422, 503))
def accuracy(actor: Predictor, query: Annotated[AccuracyQuery, Query()]) -> Any:
    """Say how right the predictions were, by month and model version; only of costs that were entered later."""
    with site_session(actor) as site:
        months = prediction_history.accuracy_by_month(site=site, actor=actor, zone=query.zone)
    return {"months": months}


def _cells(outcome: prediction_history.PredictionOutcome) -> list[object]:
    prediction = outcome.prediction
    return [
        *(getattr(prediction, name) for name in _MADE),
        outcome.patient_name,
        *(prediction.inputs.get(name) for name in FEATURE_NAMES),
        *(getattr(outcome, name, getattr(prediction, name, None)) for name in _FOUND),
    ]
