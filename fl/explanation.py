"""Exact Shapley values of one prediction over the features, against an invented background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fl.features import FeatureValue
from fl.model import CostModel


@dataclass(frozen=True)
class ShapleyValues:
    """How the features move one prediction away from that of the background.

    Attributes
    ----------
    base
        USD a year: the mean prediction of the background, before clipping at zero.
    contributions
        Feature name -> USD a year; `base` and all contributions add up to the prediction before clipping.
    """

    base: float
    contributions: dict[str, float]


def shapley_values(model: CostModel, values: Mapping[str, FeatureValue]) -> ShapleyValues:
    """Explain the prediction of valid `values` (Shapley 1953; Lundberg and Lee 2017, interventional)."""
    raise NotImplementedError
