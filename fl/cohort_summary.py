"""What a Site's patients are like: histograms, means and spreads, with nothing said of fewer than ten patients.

A Site counts and withholds; the consortium checks what arrives and adds it up. What the counts mean for a training is
`fl/cohort_warnings.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.evaluation import SMALLEST_CELL
from fl.features import FEATURES, TARGET_NAME, Feature
from fl.groups import Group, band, withheld_cells

COST = Feature(TARGET_NAME, "Insurance cost", "number", unit="USD a year", minimum=0)
MEASURES: tuple[Feature, ...] = (*FEATURES, COST)
NUMBERS: tuple[str, ...] = tuple(measure.name for measure in MEASURES if measure.kind != "category")
# Nearly equal steps on a logarithmic scale: costs of a few hundred and of fifty thousand USD both stand out.
COST_EDGES = (500, 700, *(step * 10**power for power in (3, 4) for step in (1, 1.5, 2, 3, 5, 7)), 100_000)
MOST_INNER_BINS = 16
_STEPS = (1.0, 2.5, 5.0, 10.0)
SEPARATE_BY = "smoker"  # costs of smokers are compared with those of smokers
WITHHELD = -1  # instead of a count, in what crosses


def edges_of(measure: Feature) -> tuple[float, ...]:
    """Return where the bins of a number end and begin, ascending; below the first and above the last, bins are open."""
    if measure.name == TARGET_NAME:
        return tuple(float(edge) for edge in COST_EDGES)
    assert measure.usual is not None and measure.minimum is not None
    low, high = measure.usual
    step = next(step for step in _STEPS if (high - low) / step <= MOST_INNER_BINS)
    first, last = math.floor(low / step), math.floor(high / step) + 1
    return tuple(step * place for place in range(first, last + 1) if step * place > measure.minimum)


def _cells_of(measure: Feature) -> tuple[Group, ...]:
    if measure.kind == "category":
        return tuple(Group(measure.name, value, label) for value, label in measure.categories)
    ends = (-math.inf, *edges_of(measure), math.inf)
    return tuple(band(measure, lowest, below) for lowest, below in itertools.pairwise(ends))


# Name of a feature or of the cost -> its bins, or its categories.
CELLS: dict[str, tuple[Group, ...]] = {measure.name: _cells_of(measure) for measure in MEASURES}
NUM_COUNTS = sum(len(cells) + 1 for cells in CELLS.values())  # with the patients of whom it is missing
_GROUPS = tuple(group.code for group in CELLS[SEPARATE_BY])
NUM_AVERAGES = 2 * len(NUMBERS) + len(_GROUPS)


@dataclass(frozen=True)
class MeasureSummary:
    """One feature, or the cost, of the patients of one Site or of all.

    Attributes
    ----------
    counts
        Patients in each of `CELLS`; None where it is withheld.
    missing
        Patients of whom it is not known; None if withheld.
    mean, sd
        In the measure's unit; None of a category, or if too few are known.
    """

    counts: tuple[int | None, ...]
    missing: int | None
    mean: float | None = None
    sd: float | None = None

    @property
    def told(self) -> int:
        """Patients in the cells that are not withheld."""
        return sum(count for count in self.counts if count is not None)


@dataclass(frozen=True)
class CohortSummary:
    """The patients of one Site, or of all.

    Attributes
    ----------
    count
        Patients.
    measures
        Name of a feature or of the cost -> what is told of it.
    log_cost
        Value of the feature `smoker` -> mean of the natural logarithm of the cost in USD; None if withheld.
    """

    count: int
    measures: dict[str, MeasureSummary]
    log_cost: dict[str, float | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a dict that JSON can hold."""
        return {
            "count": self.count,
            "missing": {name: measure.missing for name, measure in self.measures.items()},
            "features": {
                name: {
                    "mean": measure.mean,
                    "sd": measure.sd,
                    "bins": [cell.code for cell in CELLS[name]],
                    "counts": list(measure.counts),
                }
                for name, measure in self.measures.items()
            },
        }


def summarise(columns: Mapping[str, Sequence[Any]]) -> CohortSummary:
    """Summarise the patients of a Site.

    Of the bins of a feature, and of the patients of whom it is missing, each of one to nine is withheld, and the next
    smallest with it (`fl.groups.withheld_cells`): their total is known.

    Parameters
    ----------
    columns
        Name of a feature or of the cost -> n values, None where it is not known.
    """
    count = len(columns[TARGET_NAME])
    measures = {}
    for measure in MEASURES:
        values = columns[measure.name]
        known = np.array([value for value in values if value is not None])
        counts = _counted(measure, known)
        cells = [*counts, count - len(known)]
        hidden = withheld_cells(cells)
        *told, missing = (None if index in hidden else cell for index, cell in enumerate(cells))
        mean = sd = None
        if measure.kind != "category" and len(known) >= SMALLEST_CELL:
            numbers = known.astype(np.float64)
            mean, sd = float(numbers.mean()), float(numbers.std())
        measures[measure.name] = MeasureSummary(tuple(told), missing, mean, sd)
    return CohortSummary(count, measures, _log_cost(columns))


def _counted(measure: Feature, known: NDArray[Any]) -> list[int]:
    if measure.kind == "category":
        return [int((known == value).sum()) for value in measure.values]
    edges = edges_of(measure)
    places = np.searchsorted(edges, known.astype(np.float64), side="right")
    return [int(cell) for cell in np.bincount(places, minlength=len(edges) + 1)]


def _log_cost(columns: Mapping[str, Sequence[Any]]) -> dict[str, float | None]:
    pairs = [
        (value, float(cost))
        for value, cost in zip(columns[SEPARATE_BY], columns[TARGET_NAME], strict=True)
        if value is not None and cost is not None
    ]
    by_group = {
        code: np.log(np.maximum([cost for value, cost in pairs if value == code], 1.0)) for code in _GROUPS
    }
    if any(0 < len(logs) < SMALLEST_CELL for logs in by_group.values()):
        return dict.fromkeys(_GROUPS)
    return {code: float(logs.mean()) if len(logs) else None for code, logs in by_group.items()}


def counts_to_array(summary: CohortSummary) -> NDArray[np.int64]:
    """Return what crosses of the counts, shape (NUM_COUNTS,): by measure its cells, then the missing; -1: withheld."""
    cells = [cell for one in summary.measures.values() for cell in (*one.counts, one.missing)]
    return np.array([WITHHELD if cell is None else cell for cell in cells], dtype=np.int64)


def averages_to_array(summary: CohortSummary) -> NDArray[np.float64]:
    """Return what crosses of the averages, shape (NUM_AVERAGES,): means, spreads, logarithms; NaN: not told."""
    numbers = [
        value for name in NUMBERS for value in (summary.measures[name].mean, summary.measures[name].sd)
    ]
    every = [*numbers, *(summary.log_cost[code] for code in _GROUPS)]
    return np.array([np.nan if value is None else value for value in every], dtype=np.float64)


def summary_from_arrays(count: int, counts: NDArray[Any], averages: NDArray[Any]) -> CohortSummary:
    """Read what a Site sent.

    Raises
    ------
    ValueError
        If it cannot be, or tells of fewer patients than anybody may.
    """
    if count < SMALLEST_CELL:
        raise ValueError(f"it tells of fewer than {SMALLEST_CELL} patients")
    if counts.shape != (NUM_COUNTS,) or averages.shape != (NUM_AVERAGES,) or np.isinf(averages).any():
        raise ValueError("its summary is not in the bins asked for")
    every = iter(None if cell == WITHHELD else int(cell) for cell in counts)
    numbers = iter(None if np.isnan(value) else float(value) for value in averages)
    measures = {}
    for measure in MEASURES:
        *told, missing = itertools.islice(every, len(CELLS[measure.name]) + 1)
        _check_cells([*told, missing], count)
        mean = sd = None
        if measure.kind != "category":
            mean, sd = next(numbers), next(numbers)
            _check_average(measure, mean, sd)
        measures[measure.name] = MeasureSummary(tuple(told), missing, mean, sd)
    return CohortSummary(count, measures, {code: next(numbers) for code in _GROUPS})


def _check_cells(cells: Sequence[int | None], count: int) -> None:
    told = [cell for cell in cells if cell is not None]
    if any(cell < 0 or 0 < cell < SMALLEST_CELL for cell in told):
        raise ValueError(f"one of its bins tells of fewer than {SMALLEST_CELL} patients")
    untold = count - sum(told)
    if untold < 0 or (untold > 0 and len(told) == len(cells)):
        raise ValueError("its bins do not add up to its patients")
    if 0 < untold < SMALLEST_CELL:
        raise ValueError(f"its bins let fewer than {SMALLEST_CELL} patients be computed")


def _check_average(measure: Feature, mean: float | None, sd: float | None) -> None:
    if (mean is None) != (sd is None):
        raise ValueError(f"its mean of {measure.name} has no spread")
    if mean is None or sd is None:
        return
    low, high = measure.minimum or 0.0, measure.maximum or math.inf
    if not low <= mean <= high or sd < 0:
        raise ValueError(f"its mean of {measure.name} cannot be")


def pool(sites: Sequence[CohortSummary]) -> CohortSummary:
    """Put the patients of several Sites together, as far as the Sites told of them.

    A bin holds the patients of the Sites that told of it; it is withheld if none did, or if only empty ones were told
    while others were withheld. Means are weighted by the patients of whom the measure is known, a Site that withholds
    how many are missing by all of its patients.
    """
    measures = {}
    for measure in MEASURES:
        own = [site.measures[measure.name] for site in sites]
        mean, sd = _pooled_average([(one, site.count) for one, site in zip(own, sites, strict=True)])
        measures[measure.name] = MeasureSummary(
            counts=tuple(
                _pooled_count([one.counts[index] for one in own]) for index in range(len(CELLS[measure.name]))
            ),
            missing=_pooled_count([one.missing for one in own]),
            mean=mean,
            sd=sd,
        )
    return CohortSummary(sum(site.count for site in sites), measures)


def _pooled_count(counts: Sequence[int | None]) -> int | None:
    told = [count for count in counts if count is not None]
    return None if sum(told) == 0 and len(told) < len(counts) else sum(told)


def _pooled_average(sites: Sequence[tuple[MeasureSummary, int]]) -> tuple[float | None, float | None]:
    known = [
        (count - (one.missing or 0), one.mean, one.sd)
        for one, count in sites
        if one.mean is not None and one.sd is not None
    ]
    rows = sum(weight for weight, _, _ in known)
    if not rows:
        return None, None
    mean = sum(weight * here for weight, here, _ in known) / rows
    square = sum(weight * (spread**2 + here**2) for weight, here, spread in known) / rows
    return mean, math.sqrt(max(square - mean**2, 0.0))
