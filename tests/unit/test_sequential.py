"""The confidence sequence of the shadow's comparison: against its formula by hand, and that it holds at all times."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from fl.sequential import ALPHA, FEWEST_VALUES, TIGHTEST_AT, Sums, half_width, interval, values_needed


def _sums(values: NDArray[np.float64]) -> Sums:
    return Sums(len(values), float(values.sum()), float((values**2).sum()))


def test_mean_and_deviation_are_those_of_the_values() -> None:
    values = np.array([-300.0, 120.0, 80.0, -40.0])
    sums = _sums(values)
    assert sums.mean == pytest.approx(-35.0)
    assert sums.deviation == pytest.approx(values.std())
    assert math.isnan(Sums(0, 0.0, 0.0).mean)


def test_the_width_is_that_of_the_paper_computed_by_hand() -> None:
    """alpha .05, at t* = 200: rho^2 = (5.9915 + log 6.9915) / 200 = .039681; t rho^2 + 1 = 8.9362.

    2 x 8.9362 / (200^2 x .039681) x log(2.98935 / .05) = .0112602 x 4.09078 = .046063, root .214623.
    """
    assert half_width(200, 1000.0) == pytest.approx(214.62, abs=0.05)
    sums = Sums(200, 200 * -500.0, 200 * (500.0**2 + 1000.0**2))
    low, high = interval(sums) or (0, 0)
    assert (low, high) == (pytest.approx(-714.62, abs=0.05), pytest.approx(-285.38, abs=0.05))


def test_the_width_falls_and_is_wider_than_that_of_one_look() -> None:
    widths = [half_width(count, 1.0) for count in range(FEWEST_VALUES, 5000, 50)]
    assert widths == sorted(widths, reverse=True)
    assert half_width(TIGHTEST_AT, 1.0) > 1.96 / math.sqrt(TIGHTEST_AT)


def test_of_few_values_nothing_is_concluded() -> None:
    assert interval(Sums(FEWEST_VALUES - 1, -1e6, 1e12)) is None
    assert interval(Sums(FEWEST_VALUES, -1e6, 1e12)) is not None


def test_how_many_values_it_takes_is_where_zero_leaves_the_interval() -> None:
    sums = Sums(60, 60 * -100.0, 60 * (100.0**2 + 1000.0**2))
    needed = values_needed(sums)
    assert needed is not None
    assert half_width(needed, sums.deviation) <= 100 < half_width(needed - 1, sums.deviation)
    assert values_needed(Sums(60, 60 * 0.001, 60 * 1e6)) is None
    assert values_needed(Sums(60, 0.0, 60.0)) is None
    assert values_needed(Sums(0, 0.0, 0.0)) is None


@pytest.mark.parametrize("skewed", [False, True])
def test_zero_is_left_out_in_at_most_one_of_twenty_histories_however_often_one_looks(skewed: bool) -> None:
    """1,000 histories of 2,000 values with mean zero, each looked at after every value."""
    generator = np.random.default_rng(8)
    values = generator.exponential(size=(1000, 2000)) - 1 if skewed else generator.normal(size=(1000, 2000))
    counts = np.arange(1, 2001)
    means = values.cumsum(axis=1) / counts
    deviations = np.sqrt((values**2).cumsum(axis=1) / counts - means**2)
    widths = np.array([half_width(int(count), 1.0) for count in counts])
    looks = counts >= FEWEST_VALUES
    missed = (np.abs(means) > widths * deviations)[:, looks].any(axis=1).mean()
    at_one_look = (np.abs(means) > 1.96 * deviations / np.sqrt(counts))[:, looks].any(axis=1).mean()
    assert missed <= ALPHA
    assert at_one_look > 0.25
