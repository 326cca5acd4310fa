"""Why a prediction is what it is, and what would change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy.orm import Session

from app.actor import Actor
from app.services.predictions import CostPrediction
from fl.features import FeatureValue


@dataclass(frozen=True)
class WhatIf:
    """The same patient with something changed.

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
    raise NotImplementedError
