"""How good a model is on held-out rows: sums that Sites send, and the metrics that follow from their total."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

SMALLEST_CELL = 10  # rows; what is said of fewer is withheld


@dataclass(frozen=True)
class Metrics:
    """Metrics of one model on some held-out rows.

    Attributes
    ----------
    num_examples
        Rows evaluated.
    loss
        Mean squared error of the standardised cost.
    mae, rmse
        USD.
    r2
        Coefficient of determination; None if all costs are equal, where it is not defined.
    """

    num_examples: int
    loss: float
    mae: float
    rmse: float
    r2: float | None


@dataclass(frozen=True)
class HoldoutSums:
    """What a Site sends of its held-out rows; pooled R2 follows exactly from the sums.

    Attributes
    ----------
    count
        Held-out rows.
    squared_error, absolute_error
        Sum over rows, USD squared and USD.
    cost, cost_squared
        Sum over rows, USD and USD squared.
    """

    count: int
    squared_error: float
    absolute_error: float
    cost: float
    cost_squared: float

    def to_list(self) -> list[float]:
        """Return the five numbers in the order of the fields."""
        return [float(value) for value in astuple(self)]

    @classmethod
    def from_list(cls, numbers: list[float]) -> HoldoutSums:
        """Read what `to_list` wrote.

        Raises
        ------
        ValueError
            If there are not five finite numbers, the count is not a whole number, or a sum is below what it can be.
        """
        if len(numbers) != len(fields(cls)) or not all(math.isfinite(number) for number in numbers):
            raise ValueError("an evaluation holds a number that cannot be")
        if numbers[0] < 0 or numbers[0] != int(numbers[0]):
            raise ValueError("an evaluation counts rows that cannot be")
        sums = cls(int(numbers[0]), *numbers[1:])
        if min(sums.squared_error, sums.absolute_error, sums.cost_squared) < 0 or (
            sums.count == 0 and any(numbers)
        ):
            raise ValueError("an evaluation holds a sum that cannot be")
        return sums

    def metrics(self, target_scale: float) -> Metrics | None:
        """Return the metrics of these rows; None if there are none. `target_scale` is in USD."""
        if self.count == 0:
            return None
        spread = self.cost_squared - self.cost**2 / self.count
        mse = self.squared_error / self.count
        return Metrics(
            num_examples=self.count,
            loss=mse / target_scale**2,
            mae=self.absolute_error / self.count,
            rmse=math.sqrt(mse),
            r2=1.0 - self.squared_error / spread if spread > 1e-9 * self.cost_squared else None,
        )


NOTHING_TOLD = HoldoutSums(0, 0.0, 0.0, 0.0, 0.0)


def holdout_sums(predicted: NDArray[np.float64], actual: NDArray[np.float64]) -> HoldoutSums:
    """Sum up errors of predicted against actual costs, both in USD, shape (n,)."""
    error = predicted - actual
    return HoldoutSums(
        count=len(actual),
        squared_error=float(np.sum(error**2)),
        absolute_error=float(np.sum(np.abs(error))),
        cost=float(np.sum(actual)),
        cost_squared=float(np.sum(actual**2)),
    )


def told(sums: HoldoutSums) -> HoldoutSums:
    """Return what a Site may say of its held-out rows: nothing, if they are fewer than ten."""
    return sums if sums.count >= SMALLEST_CELL else NOTHING_TOLD


def refuse_few(sums: HoldoutSums) -> HoldoutSums:
    """Return the sums of all held-out rows that a Site sent; raises ValueError if they tell of one to nine."""
    if 0 < sums.count < SMALLEST_CELL:
        raise ValueError(f"it tells of fewer than {SMALLEST_CELL} held-out patients")
    return sums


def pooled(parts: Iterable[HoldoutSums]) -> HoldoutSums:
    """Add up the sums of several Sites."""
    columns = list(zip(*(astuple(part) for part in parts), strict=True))
    if not columns:
        return NOTHING_TOLD
    return HoldoutSums(int(sum(columns[0])), *(math.fsum(column) for column in columns[1:]))
