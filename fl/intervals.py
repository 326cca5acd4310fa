"""Prediction intervals: split-conformal calibration per smoker group, from histograms of residuals that Sites send."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.residuals import CALIBRATED_GROUPS, EDGES, NUM_BINS, Histograms
from fl.residuals import SEPARATE_BY as SEPARATE_BY

LEVEL_IN_TENTHS = 9  # 90 % of the patients should have a cost within their interval


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
            "level": LEVEL_IN_TENTHS / 10,
            SEPARATE_BY: {value: asdict(group) if group else None for value, group in self.groups.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Calibration:
        """Read what `to_json` wrote."""
        return cls(
            {value: GroupInterval(**group) if group else None for value, group in data[SEPARATE_BY].items()}
        )


def calibrate(sites: Iterable[Histograms], target_scale: float) -> Calibration | None:
    """Make the intervals of a model from the histograms of several Sites.

    A group is calibrated on its own rows at the Sites that told of them. Where those are fewer than 19, all rows of all
    Sites stand in.

    Returns
    -------
    Calibration or None
        None if there are too few rows for any interval.
    """
    together = np.sum([np.zeros((1 + len(CALIBRATED_GROUPS), NUM_BINS), dtype=np.int64), *sites], axis=0)
    groups: dict[str, GroupInterval | None] = {}
    for group, own in zip(CALIBRATED_GROUPS, together[1:], strict=True):
        groups[group.code] = None
        for counts, all_patients in ((own, False), (together[0], True)):
            window = shortest_window(counts)
            if window is not None:
                low, high = (EDGES[edge] * target_scale for edge in window)
                rows = int(counts.sum())
                groups[group.code] = GroupInterval(float(low), float(high), rows, all_patients)
                break
    return Calibration(groups) if any(groups.values()) else None


def shortest_window(counts: NDArray[np.int64]) -> tuple[int, int] | None:
    """Find the shortest run of whole bins around 0 that holds ceil(0.9 (n+1)) of n residuals.

    That is the rank of split-conformal prediction (Vovk, Gammerman and Shafer 2005; Lei et al. 2018,
    doi:10.1080/01621459.2017.1307116). A run between two order statistics that was chosen for being short covers
    about 1/n less than the rank says; that the run reaches to the outer edges of its bins makes up for it, which is
    measured (`make bench-accuracy`) and not proven.

    Parameters
    ----------
    counts
        Shape (NUM_BINS,).

    Returns
    -------
    tuple of int or None
        Indices into `EDGES` of the lower and upper end; None if n is below 19, where the rank is n and the run would
        be the range of all that was seen, or if it would need one of the outer bins, which have no end.
    """
    rows = int(counts.sum())
    needed = -(-LEVEL_IN_TENTHS * (rows + 1) // 10)
    if needed >= rows:
        return None
    below = np.concatenate([[0], np.cumsum(counts)])
    centre = NUM_BINS // 2  # the edge at 0: a prediction always lies within its own interval
    lows, highs = np.meshgrid(np.arange(1, centre + 1), np.arange(centre, NUM_BINS), indexing="ij")
    width = np.where(below[highs] - below[lows] >= needed, EDGES[highs] - EDGES[lows], np.inf)
    best = int(np.argmin(width))
    if not np.isfinite(width.flat[best]):
        return None
    return int(lows.flat[best]), int(highs.flat[best])
