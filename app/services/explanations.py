"""Why a prediction is what it is, and what would change it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy.orm import Session

from app.actor import Actor
from app.permissions import Permission
from app.services import models
from app.services.predictions import CostPrediction, in_cents, predict_columns, predict_with, valid_inputs
from fl.explanation import shapley_values
from fl.features import FEATURE_NAMES, FeatureValue

HEALTHY_BMI = 25.0  # kg/m², the upper end of what the WHO calls a normal weight


@dataclass(frozen=True)
class Change:
    """Something that a patient could change.

    Attributes
    ----------
    label
        What they do, as people say it.
    feature, value
        The feature that changes, and to what.
    applies
        Whether a patient with this value of the feature has it to change.
    """

    label: str
    feature: str
    value: FeatureValue
    applies: Callable[[FeatureValue], bool]


CHANGES: tuple[Change, ...] = (
    Change("Stops smoking", "smoker", "no", lambda smoker: smoker == "yes"),
    Change(f"Reaches BMI {HEALTHY_BMI:g}", "bmi", HEALTHY_BMI, lambda bmi: float(bmi) > HEALTHY_BMI),
)


@dataclass(frozen=True)
class WhatIf:
    """The same patient with something changed, as the model sees it; not what such a change would cause.

    Attributes
    ----------
    label
        What changed, as people say it: "Stops smoking".
    inputs
        The six features after the change.
    cost
        USD a year.
    difference
        USD a year, `cost` less the predicted cost; negative if the change makes it cheaper.
    """

    label: str
    inputs: dict[str, FeatureValue]
    cost: Decimal
    difference: Decimal


@dataclass(frozen=True)
class Explanation:
    """What a prediction is made of.

    Attributes
    ----------
    base_cost
        USD a year: the mean prediction of an invented cohort, before clipping at zero.
    contributions
        Feature name -> USD a year. With `base_cost` they add up to the predicted cost before clipping at zero.
    what_ifs
        Only those that apply to this patient; may be empty.
    """

    base_cost: float
    contributions: dict[str, float]
    what_ifs: list[WhatIf]


def explain(
    *, central: Session, actor: Actor, inputs: Mapping[str, object]
) -> tuple[CostPrediction, Explanation]:
    """Predict the cost of one patient and explain it; raises what `predictions.predict` raises."""
    actor.require(Permission.PREDICT)
    values = valid_inputs(inputs)
    loaded = models.champion(central=central)
    prediction = predict_with(loaded, values)
    shapley = shapley_values(loaded.model, values)
    return prediction, Explanation(
        base_cost=shapley.base,
        contributions=shapley.contributions,
        what_ifs=_what_ifs(loaded, prediction),
    )


def _what_ifs(loaded: models.LoadedModel, prediction: CostPrediction) -> list[WhatIf]:
    """Predict again after each change that applies to the patient and, if there are several, after all of them."""
    applying = [change for change in CHANGES if change.applies(prediction.inputs[change.feature])]
    chosen = [[change] for change in applying] + ([applying] if len(applying) > 1 else [])
    if not chosen:
        return []
    variants = [
        {**prediction.inputs, **{change.feature: change.value for change in changes}} for changes in chosen
    ]
    costs = predict_columns(loaded, {name: [row[name] for row in variants] for name in FEATURE_NAMES})
    return [
        WhatIf(
            label=" and ".join(_in_sentence(change.label, place) for place, change in enumerate(changes)),
            inputs=variant,
            cost=in_cents(cost),
            difference=in_cents(cost) - prediction.predicted_cost,
        )
        for changes, variant, cost in zip(chosen, variants, costs, strict=True)
    ]


def _in_sentence(label: str, place: int) -> str:
    return label if place == 0 else label[0].lower() + label[1:]
