"""The groups by which metrics are told apart, and which cells a Site must withhold so that no few patients show."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.evaluation import SMALLEST_CELL, HoldoutSums, holdout_sums, pooled
from fl.features import FEATURES, INPUT_NAMES, Feature


@dataclass(frozen=True)
class Group:
    """People who are alike in one feature.

    Attributes
    ----------
    feature
        Name of the feature.
    code
        What databases and the API call it: a category's value, or the ends of a band such as `30-45`, the upper
        one not included; it is empty where the band is open: `-30`, `55-`.
    label
        What people read: "30–44 years", "Smoker: yes".
    lowest, below
        Ends of the band, in the feature's unit; infinite for a category and at an open end.
    """

    feature: str
    code: str
    label: str
    lowest: float = -math.inf
    below: float = math.inf

    def members(self, inputs: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell for each row of encoded, unscaled inputs, shape (n, 13), whether it belongs here; shape (n,)."""
        if math.isinf(self.lowest) and math.isinf(self.below):
            belongs: NDArray[np.bool_] = inputs[:, INPUT_NAMES.index(f"{self.feature}_{self.code}")] == 1.0
            return belongs
        values = inputs[:, INPUT_NAMES.index(self.feature)]
        in_band: NDArray[np.bool_] = (values >= self.lowest) & (values < self.below)
        return in_band


def band(feature: Feature, lowest: float, below: float) -> Group:
    unit = f" {feature.unit}" if feature.unit else ""
    ends = ["" if math.isinf(end) else f"{end:g}" for end in (lowest, below)]
    if not ends[0]:
        label = f"under {ends[1]}{unit}"
    elif not ends[1]:
        label = f"{ends[0]}{unit} and over"
    elif feature.kind == "integer":
        label = f"{ends[0]}–{below - 1:g}{unit}"
    else:
        label = f"{ends[0]} to under {ends[1]}{unit}"
    return Group(feature.name, "-".join(ends), label, lowest, below)


def groups_of(feature: Feature) -> tuple[Group, ...]:
    """Return the groups of one feature: its categories or its bands; none if it declares neither."""
    if feature.kind == "category":
        return tuple(
            Group(feature.name, value, f"{feature.label}: {label.lower()}")
            for value, label in feature.categories
        )
    if not feature.bands:
        return ()
    ends = (-math.inf, *feature.bands, math.inf)
    return tuple(band(feature, lowest, below) for lowest, below in itertools.pairwise(ends))


GROUPS: tuple[Group, ...] = tuple(group for feature in FEATURES for group in groups_of(feature))
# Feature -> where its groups stand in `GROUPS`.
_CELLS: dict[str, list[int]] = {
    feature.name: [index for index, group in enumerate(GROUPS) if group.feature == feature.name]
    for feature in FEATURES
    if groups_of(feature)
}

GroupSums = tuple[HoldoutSums | None, ...]  # in the order of `GROUPS`; None: withheld
_NUMBERS = len(fields(HoldoutSums))


def withheld_cells(counts: Sequence[int]) -> set[int]:
    """Choose the cells of one feature of which nothing may be said; their total is taken to be known.

    A cell of 1 to 9 rows is withheld. One alone would follow from the total minus the others, and several that
    hold few rows together would be a small cell by another name: the next smallest is therefore withheld too, until
    there are at least two of at least ten rows together. An empty cell speaks of no patient and hides none.

    Parameters
    ----------
    counts
        Rows of each cell; every row is in exactly one.

    Returns
    -------
    set of int
        Indices into `counts`.
    """
    filled = sorted((count, index) for index, count in enumerate(counts) if count > 0)
    withheld = {index for count, index in filled if count < SMALLEST_CELL}
    for _, index in filled:
        together = sum(counts[cell] for cell in withheld)
        if not withheld or (len(withheld) >= 2 and together >= SMALLEST_CELL):
            break
        withheld.add(index)
    return withheld


def group_sums(
    inputs: NDArray[np.float64], predicted: NDArray[np.float64], actual: NDArray[np.float64]
) -> GroupSums:
    """Sum up a Site's errors by group, and withhold what would speak of few patients.

    Parameters
    ----------
    inputs
        Encoded, unscaled, shape (n, 13).
    predicted, actual
        USD, shape (n,).
    """
    if len(actual) < SMALLEST_CELL:
        return (None,) * len(GROUPS)
    members = [group.members(inputs) for group in GROUPS]
    withheld = {
        cells[index]
        for cells in _CELLS.values()
        for index in withheld_cells([int(members[cell].sum()) for cell in cells])
    }
    return tuple(
        None if index in withheld else holdout_sums(predicted[rows], actual[rows])
        for index, rows in enumerate(members)
    )


def groups_to_array(groups: GroupSums) -> NDArray[np.float64]:
    """Return what crosses, shape (groups, 5): the sums of each group, or NaN where it is withheld."""
    return np.array([[np.nan] * _NUMBERS if sums is None else sums.to_list() for sums in groups])


def groups_from_array(array: NDArray[np.float64], total: HoldoutSums) -> GroupSums:
    """Read what `groups_to_array` wrote.

    Parameters
    ----------
    total
        Of all held-out rows of the same Site.

    Raises
    ------
    ValueError
        If the groups do not fit the total, or tell of fewer rows than anybody may.
    """
    if array.shape != (len(GROUPS), _NUMBERS):
        raise ValueError("its groups are not the ones asked for")
    groups = tuple(
        None if np.isnan(row).all() else HoldoutSums.from_list([float(number) for number in row])
        for row in array
    )
    for cells in _CELLS.values():
        told = [sums for index in cells if (sums := groups[index]) is not None]
        if any(0 < sums.count < SMALLEST_CELL for sums in told):
            raise ValueError(f"a group of it holds fewer than {SMALLEST_CELL} patients")
        untold = total.count - sum(sums.count for sums in told)
        if untold < 0 or (untold > 0 and len(told) == len(cells)):
            raise ValueError("its groups do not add up to its held-out rows")
        if 0 < untold < SMALLEST_CELL:
            raise ValueError(f"its groups let fewer than {SMALLEST_CELL} patients be computed")
    return groups


def pooled_group_metrics(
    sites: Iterable[GroupSums], target_scale: float
) -> dict[str, dict[str, dict[str, Any] | None]]:
    """Add up the groups of several Sites; a Site that withheld a group is left out of it.

    Returns
    -------
    dict
        Feature -> group's code -> `Metrics` as a dict; None if fewer than ten rows are left. `target_scale` is in
        USD.
    """
    listed = list(sites)
    by_feature: dict[str, dict[str, dict[str, Any] | None]] = {name: {} for name in _CELLS}
    for index, group in enumerate(GROUPS):
        sums = pooled(part for groups in listed if (part := groups[index]) is not None)
        metrics = sums.metrics(target_scale) if sums.count >= SMALLEST_CELL else None
        by_feature[group.feature][group.code] = asdict(metrics) if metrics else None
    return by_feature
