"""Predicting a patient's yearly insurance cost with the model in use, and keeping the predictions made."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import bindparam, exists, func, insert, select, true
from sqlalchemy.dialects.postgresql import insert as insert_unless_there
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import Conflict, InvalidInput
from app.measures import prediction_timed
from app.permissions import Permission
from app.services import models
from app.services.access import ACCESS_EVENTS, access_event, refuse_unknown
from db.prepared import PreparedStatement
from db.site import Prediction, SiteBase
from fl.features import FEATURES, FeatureValue, validate

LARGEST_COST = Decimal("9999999999.99")  # USD, what the column holds

_PATIENTS, _PREDICTIONS, _SHADOWS = (
    SiteBase.metadata.tables[name] for name in ("patients", "predictions", "shadow_predictions")
)
_KEPT = (
    "id",
    "patient_id",
    "inputs",
    "predicted_cost",
    "interval_low",
    "interval_high",
    "model_version",
    "worker_id",
    "worker_name",
)


@dataclass(frozen=True)
class CostPrediction:
    """A predicted yearly cost with what it was made from.

    Attributes
    ----------
    inputs
        The six features as validated.
    predicted_cost
        USD a year, whole cents.
    interval
        USD a year, whole cents: where nine in ten costs of such patients lie; None if the version cannot say.
    model_version
        The version that made it.
    cautions
        Sentences on inputs that the model has hardly seen.
    shadow
        Version and cost, USD a year, of the model that predicts beside it; saved too, and shown to nobody.
    """

    inputs: dict[str, FeatureValue]
    predicted_cost: Decimal
    interval: tuple[Decimal, Decimal] | None
    model_version: str
    cautions: list[str]
    shadow: tuple[str, Decimal] | None = field(default=None, repr=False)


def predict(*, central: Session, actor: Actor, inputs: Mapping[str, object]) -> CostPrediction:
    """Predict the cost of one patient.

    Raises
    ------
    InvalidInput
        Naming every field that is missing or not accepted.
    NoModelYet
        If no model was trained yet.
    """
    actor.require(Permission.PREDICT)
    with prediction_timed():
        values = valid_inputs(inputs)
        return predict_with(models.champion(central=central), values)


def valid_inputs(inputs: Mapping[str, object]) -> dict[str, FeatureValue]:
    """Return all features as validated; raises `InvalidInput` naming every field that is not accepted."""
    values, problems = validate(inputs)
    if problems:
        raise InvalidInput(problems)
    return values


def predict_with(loaded: models.LoadedModel, values: Mapping[str, FeatureValue]) -> CostPrediction:
    """Predict from valid values with a loaded model; raises `Conflict` if the model answers no number."""
    columns = {name: [value] for name, value in values.items()}
    cost = predict_columns(loaded, columns)
    shadow = shadow_columns(loaded, columns)
    return CostPrediction(
        inputs=dict(values),
        predicted_cost=in_cents(cost[0]),
        interval=_interval_of(loaded, cost, values),
        model_version=loaded.version,
        cautions=cautions_for(values),
        shadow=None if shadow is None or np.isnan(shadow[1][0]) else (shadow[0], in_cents(shadow[1][0])),
    )


def predict_columns(
    loaded: models.LoadedModel, columns: Mapping[str, Sequence[FeatureValue] | NDArray[Any]]
) -> NDArray[np.float64]:
    """Predict from columns of valid values; USD a year, shape (n,), whole cents.

    Raises
    ------
    Conflict
        If the model answers anything that is no cost.
    """
    costs = loaded.model.predict(columns)
    if not np.all(costs <= float(LARGEST_COST)):  # also refuses NaN
        raise Conflict(
            f"Model {loaded.version} gives no usable cost for these values. Please tell an administrator."
        )
    return costs.round(2)


def shadow_columns(
    loaded: models.LoadedModel, columns: Mapping[str, Sequence[Any] | NDArray[Any]]
) -> tuple[str, NDArray[np.float64]] | None:
    """Return the shadow's version and costs, USD a year, shape (n,), NaN where it gives none; None without a shadow."""
    if loaded.shadow is None:
        return None
    costs = loaded.shadow.model.predict(columns).round(2)
    return loaded.shadow.version, np.where(costs <= float(LARGEST_COST), costs, np.nan)


def interval_columns(
    loaded: models.LoadedModel,
    costs: NDArray[np.float64],
    columns: Mapping[str, Sequence[Any] | NDArray[Any]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of the 90 % intervals, USD a year, shape (n,), whole cents; NaN where there is none."""
    if loaded.calibration is None:
        return np.full(costs.shape, np.nan), np.full(costs.shape, np.nan)
    low, high = loaded.calibration.interval(costs, np.asarray(columns["smoker"]))
    return low.round(2), np.minimum(high, float(LARGEST_COST)).round(2)


def in_cents(cost: float) -> Decimal:
    """Return an amount in USD with two decimals."""
    return Decimal(f"{cost:.2f}")


def _interval_of(
    loaded: models.LoadedModel, cost: NDArray[np.float64], values: Mapping[str, FeatureValue]
) -> tuple[Decimal, Decimal] | None:
    low, high = interval_columns(loaded, cost, {name: [value] for name, value in values.items()})
    return None if np.isnan(low[0]) else (in_cents(low[0]), in_cents(high[0]))


def cautions_for(values: Mapping[str, FeatureValue]) -> list[str]:
    """Say of each value outside the usual range that the model has hardly seen such patients."""
    cautions: list[str] = []
    for feature in FEATURES:
        if feature.usual is None:
            continue
        low, high = feature.usual
        if not low <= float(values[feature.name]) <= high:
            unit = f" {feature.unit}" if feature.unit else ""
            cautions.append(
                f"{feature.label} {values[feature.name]:g} is outside {low:g}–{high:g}{unit}, where the model has "
                "hardly any examples. Take this cost with care."
            )
    return cautions


def new_prediction_id() -> uuid.UUID:
    """Return an id as PostgreSQL's uuidv7() gives, in the order of time, known before anything is kept."""
    moment = time.time_ns() // 1_000_000
    return uuid.UUID(int=(moment & (1 << 48) - 1) << 80 | 7 << 76 | 2 << 62 | secrets.randbits(62))


def save(
    *,
    site: Session,
    actor: Actor,
    prediction: CostPrediction,
    patient_id: uuid.UUID | None = None,
    prediction_id: uuid.UUID | None = None,
) -> Prediction:
    """Keep a prediction in the institution's database; what is returned belongs to no session.

    Parameters
    ----------
    prediction_id
        Given where an attempt to keep it may have arrived, although nobody was told: it is then found and not kept
        twice. None makes a new one.

    Raises
    ------
    NotFound
        If the institution has no such patient, or it was deleted.
    """
    actor.require(Permission.PREDICT)
    low, high = prediction.interval or (None, None)
    values = {
        "id": prediction_id or new_prediction_id(),
        "patient_id": patient_id,
        "inputs": dict(prediction.inputs),
        "predicted_cost": prediction.predicted_cost,
        "interval_low": low,
        "interval_high": high,
        "model_version": prediction.model_version,
        "worker_id": actor.worker_id,
        "worker_name": actor.name,
    }
    event = access_event(
        actor, "prediction_saved", patient_id=patient_id, details={"prediction_id": str(values["id"])}
    )
    shadow_version, shadow_cost = prediction.shadow or (None, None)
    keeping = _keeping(of_patient=patient_id is not None, with_shadow=prediction.shadow is not None)
    (found,) = keeping.on(
        site.connection(),
        **values,
        **{f"event_{name}": value for name, value in event.items()},
        shadow_version=shadow_version,
        shadow_cost=shadow_cost,
    )
    if not found.known:
        assert patient_id is not None
        refuse_unknown(site, actor, "prediction_saved", patient_id)
    if found.created_at is None:  # an earlier attempt arrived, with its shadow and its event
        kept = site.get_one(Prediction, values["id"])
        site.expunge(kept)
        return kept
    return Prediction(**values, created_at=found.created_at)


@cache
def _keeping(*, of_patient: bool, with_shadow: bool) -> PreparedStatement:
    """Return the statement that keeps a prediction, its event and what the shadow said, if the patient is there.

    One statement, because each is a journey to the database. It answers whether the patient is known, and when the
    prediction was kept: NULL if it was there.
    """
    columns = [_PREDICTIONS.c[name] for name in _KEPT]
    given = select(*(bindparam(column.name, type_=column.type) for column in columns))
    known = None
    if of_patient:
        present = _PATIENTS.c.deleted_at.is_(None) & (_PATIENTS.c.id == bindparam("patient_id"))
        known = select(_PATIENTS.c.id).where(present).cte("known")
        given = given.where(exists(select(known.c.id)))
    saved = (
        insert_unless_there(_PREDICTIONS)
        .from_select(columns, given, include_defaults=False)
        .on_conflict_do_nothing()
        .returning(_PREDICTIONS.c.id, _PREDICTIONS.c.created_at)
        .cte("saved")
    )
    of_event = [ACCESS_EVENTS.c[name] for name in access_event(None, "")]
    event = select(*(bindparam(f"event_{each.name}", type_=each.type) for each in of_event)).select_from(
        saved
    )
    others = [insert(ACCESS_EVENTS).from_select(of_event, event, include_defaults=False).cte("event")]
    if with_shadow:
        of_shadow = [_SHADOWS.c[name] for name in ("prediction_id", "model_version", "predicted_cost")]
        shadow = select(
            saved.c.id,
            bindparam("shadow_version", type_=_SHADOWS.c.model_version.type),
            bindparam("shadow_cost", type_=_SHADOWS.c.predicted_cost.type),
        )
        others.append(insert(_SHADOWS).from_select(of_shadow, shadow, include_defaults=False).cte("shadow"))
    is_known = exists(select(known.c.id)) if known is not None else true()
    when = select(func.max(saved.c.created_at)).scalar_subquery()
    name = "keep_prediction" + "_of_patient" * of_patient + "_with_shadow" * with_shadow
    return PreparedStatement(name, select(is_known.label("known"), when.label("created_at")).add_cte(*others))


def predict_and_save(
    *,
    central: Session,
    site: Session,
    actor: Actor,
    inputs: Mapping[str, object],
    patient_id: uuid.UUID | None = None,
    prediction_id: uuid.UUID | None = None,
) -> Prediction:
    """Predict and keep it; raises what `predict` and `save` raise."""
    prediction = predict(central=central, actor=actor, inputs=inputs)
    return save(
        site=site, actor=actor, prediction=prediction, patient_id=patient_id, prediction_id=prediction_id
    )
