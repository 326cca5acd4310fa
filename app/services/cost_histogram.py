"""The histogram of an institution's own known costs: equal bins in round USD, the last one open."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Integer, cast, func, select
from sqlalchemy.orm import Session

from db.site import Patient

BINS = 30  # of equal width; one more holds everything above them
WITHIN_BINS = 0.995  # share of the patients that the equal bins must hold
FINEST = 500  # USD; every width below is a multiple of it
WIDTHS = tuple(FINEST * 10**power * factor for power in range(4) for factor in (1, 2, 4, 5))
MOST_FINE_BINS = BINS * WIDTHS[-1] // FINEST


@dataclass(frozen=True)
class CostDistribution:
    """How many of the institution's patients have a known cost between two edges.

    Attributes
    ----------
    edges
        n + 1 yearly costs in USD, ascending from 0 in equal steps; the last is infinite: the last bin is open.
    counts
        Patients from edges[i] to below edges[i + 1], n of them.
    count
        Patients with a known cost: the sum of `counts`.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    count: int


def fine_counts(site: Session) -> dict[int, int]:
    """Count known costs in bins of 500 USD: number of the bin -> patients; one pass over the patients."""
    bin_number = func.least(func.floor(Patient.insurance_cost / FINEST), MOST_FINE_BINS)
    query = (
        select(cast(bin_number, Integer), func.count())
        .where(Patient.deleted_at.is_(None), Patient.insurance_cost.is_not(None))
        .group_by(bin_number)
    )
    return dict(site.execute(query).all())


def distribution_of(fine: Mapping[int, int]) -> CostDistribution:
    """Put bins of 500 USD together to the narrowest round width at which 30 bins hold 99.5 % of the patients."""
    count = sum(fine.values())
    width = next((width for width in WIDTHS if _below(fine, BINS * width) >= WITHIN_BINS * count), WIDTHS[-1])
    counts = [0] * (BINS + 1)
    for number, patients in fine.items():
        counts[min(number * FINEST // width, BINS)] += patients
    edges = (*(float(width * edge) for edge in range(BINS + 1)), math.inf)
    return CostDistribution(edges, tuple(counts), count)


def _below(fine: Mapping[int, int], cost: int) -> int:
    return sum(patients for number, patients in fine.items() if number * FINEST < cost)
