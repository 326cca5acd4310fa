"""Federated statistics: sums that Sites send, and the one scaler that follows from their total."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.features import INPUT_NAMES, Preprocessing

NUM_INPUTS = len(INPUT_NAMES)


@dataclass(frozen=True)
class Moments:
    """Count, sums and sums of squares of the encoded inputs and of the cost over the training rows.

    Attributes
    ----------
    count
        Number of rows.
    sums, squares
        Over the columns of `INPUT_NAMES`, then the cost in USD; shape (14,), float64.
    """

    count: int
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]

    def to_array(self) -> NDArray[np.float64]:
        """Return one flat array, shape (29,): the count, the sums, the sums of squares."""
        return np.concatenate([[float(self.count)], self.sums, self.squares])

    @classmethod
    def from_array(cls, array: NDArray[np.float64]) -> Moments:
        """Read what `to_array` wrote.

        Raises
        ------
        ValueError
            If the shape is wrong, a number is not finite, or the count is not a positive whole number.
        """
        if array.shape != (2 * (NUM_INPUTS + 1) + 1,):
            raise ValueError(f"statistics have shape {array.shape}")
        if not np.isfinite(array).all() or array[0] < 1 or array[0] != int(array[0]):
            raise ValueError("statistics hold a number that cannot be")
        return cls(int(array[0]), array[1 : NUM_INPUTS + 2], array[NUM_INPUTS + 2 :])


def moments_of(inputs: NDArray[np.float64], cost: NDArray[np.float64]) -> Moments:
    """Sum up encoded inputs, shape (n, 13), and costs in USD, shape (n,)."""
    columns = np.column_stack([inputs, cost])
    return Moments(len(cost), columns.sum(axis=0), (columns**2).sum(axis=0))


def pooled_preprocessing(parts: Iterable[Moments]) -> Preprocessing:
    """Return the scaler of all rows together, equal to scikit-learn's StandardScaler on the pooled rows.

    A column without any spread keeps scale 1, as StandardScaler does.
    """
    listed = list(parts)
    count = sum(part.count for part in listed)
    mean = np.sum([part.sums for part in listed], axis=0) / count
    variance = np.sum([part.squares for part in listed], axis=0) / count - mean**2
    # Rounding leaves a constant column with a variance of about 1e-16 of its square.
    constant = variance <= 1e-12 * np.maximum(mean**2, 1e-300)
    scale = np.where(constant, 1.0, np.sqrt(np.maximum(variance, 0.0)))
    return Preprocessing(
        input_names=INPUT_NAMES,
        mean=tuple(float(value) for value in mean[:-1]),
        scale=tuple(float(value) for value in scale[:-1]),
        target_mean=float(mean[-1]),
        target_scale=float(scale[-1]),
    )
