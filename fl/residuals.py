"""Histograms of residuals that a Site sends in place of residuals: the bins, the counting, and the check on arrival.

The residual is the actual cost minus the predicted one, in units of the model's target scale, so that one set of bins
serves every currency and every consortium. See docs/decisions.md for the measurements behind the bins.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.evaluation import SMALLEST_CELL, HoldoutSums
from fl.groups import GROUPS, withheld_cells

SEPARATE_BY = "smoker"  # the feature whose groups are calibrated apart
CALIBRATED_GROUPS = tuple(group for group in GROUPS if group.feature == SEPARATE_BY)

# Few bins, narrow around 0 where the ends of intervals lie and wide in the tails; fixed, and the same at all Sites.
# The first and the last also hold what lies beyond them.
NUM_BINS = 32
FURTHEST = 8.0  # in units of the target scale
_STEEPNESS = 4.0
EDGES: NDArray[np.float64] = (
    FURTHEST * np.sinh(_STEEPNESS * np.linspace(-1.0, 1.0, NUM_BINS + 1)) / np.sinh(_STEEPNESS)
)

Histograms = NDArray[np.int64]  # shape (1 + smoker groups, NUM_BINS): all held-out rows, then each group


def residual_histograms(
    inputs: NDArray[np.float64],
    predicted: NDArray[np.float64],
    actual: NDArray[np.float64],
    target_scale: float,
) -> Histograms:
    """Count a Site's residuals in the bins, and withhold what would speak of few patients.

    A group of fewer than ten rows would follow from all rows minus the other group, so both are then withheld; of
    fewer than ten rows in all nothing is said. What is withheld is zero.

    Parameters
    ----------
    inputs
        Encoded, unscaled, shape (n, 13).
    predicted, actual, target_scale
        USD; the first two of shape (n,).
    """
    counts = np.zeros((1 + len(CALIBRATED_GROUPS), NUM_BINS), dtype=np.int64)
    if len(actual) < SMALLEST_CELL:
        return counts
    residual = (actual - predicted) / target_scale
    bins = np.clip(np.searchsorted(EDGES, residual, side="right") - 1, 0, NUM_BINS - 1)
    counts[0] = np.bincount(bins, minlength=NUM_BINS)
    members = [group.members(inputs) for group in CALIBRATED_GROUPS]
    withheld = withheld_cells([int(rows.sum()) for rows in members])
    for index, rows in enumerate(members):
        if index not in withheld:
            counts[1 + index] = np.bincount(bins[rows], minlength=NUM_BINS)
    return counts


def check_histograms(counts: NDArray[Any], total: HoldoutSums) -> Histograms:
    """Return the histograms that a Site sent if they can be.

    Parameters
    ----------
    total
        Of all held-out rows of the same Site.

    Raises
    ------
    ValueError
        If they do not fit the total or each other, or tell of fewer rows than anybody may.
    """
    if counts.shape != (1 + len(CALIBRATED_GROUPS), NUM_BINS):
        raise ValueError("its residuals are not in the bins asked for")
    counts = counts.astype(np.int64)
    everybody, groups = counts[0], counts[1:]
    if everybody.sum() != total.count:
        raise ValueError("its residuals do not add up to its held-out rows")
    left = everybody - groups.sum(axis=0)
    if (left < 0).any():
        raise ValueError("its residuals by group are more than those of all")
    if any(0 < rows < SMALLEST_CELL for rows in (*groups.sum(axis=1), left.sum())):
        raise ValueError(f"its residuals tell of fewer than {SMALLEST_CELL} patients")
    return counts
