"""Prediction intervals by split-conformal calibration per smoker group, from residual histograms that Sites send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.9  # share of patients whose cost the interval should hold


@dataclass(frozen=True)
class GroupInterval:
    """How far the actual costs of one smoker group lie from the predicted ones.

    Attributes
    ----------
    low, high
        USD to add to a predicted cost for the ends of its interval.
    num_examples
        Held-out rows that the two follow from.
    all_patients
        Whether these are rows of all patients, because the group has too few of its own.
    """

    low: float
    high: float
    num_examples: int
    all_patients: bool


@dataclass(frozen=True)
class Calibration:
    """The 90 % intervals of one model version, by smoker group.

    Attributes
    ----------
    groups
        Value of the feature `smoker` -> its interval; None where too few rows were held out to say.
    """

    groups: Mapping[str, GroupInterval | None]

    def offsets(self, smoker: str) -> tuple[float, float] | None:
        """Return the USD to add to a predicted cost for the ends of its interval; None if it cannot be said."""
        group = self.groups.get(smoker)
        return None if group is None else (group.low, group.high)

    def interval(
        self, predicted: NDArray[np.float64], smoker: NDArray[np.str_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the lower and upper ends in USD, each of shape (n,).

        A cost is never below zero, and neither is an end; both are NaN where the interval cannot be said.

        Parameters
        ----------
        predicted
            USD, shape (n,).
        smoker
            Values of the feature `smoker`, shape (n,).
        """
        low = np.full(predicted.shape, np.nan)
        high = np.full(predicted.shape, np.nan)
        for value in self.groups:
            offsets = self.offsets(value)
            if offsets is not None:
                rows = np.asarray(smoker) == value
                low[rows], high[rows] = (np.maximum(predicted[rows] + offset, 0.0) for offset in offsets)
        return low, high

    def to_json(self) -> dict[str, Any]:
        """Return a dict that JSON can hold."""
        return {
            "level": LEVEL,
            "smoker": {value: asdict(group) if group else None for value, group in self.groups.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Calibration:
        """Read what `to_json` wrote."""
        return cls(
            {value: GroupInterval(**group) if group else None for value, group in data["smoker"].items()}
        )
