"""Intervals hold the share of costs that they promise, and follow from histograms that give no patient away."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from db.cohort import Cohort, generate
from fl.evaluation import HoldoutSums
from fl.features import encode
from fl.intervals import Calibration, GroupInterval, calibrate, shortest_window
from fl.residuals import EDGES, NUM_BINS, check_histograms, residual_histograms

SCALE = 12_000.0  # USD
COUNTS = arrays(np.int64, NUM_BINS, elements=st.integers(0, 30))


def _total(count: int) -> HoldoutSums:
    return HoldoutSums(count, 1.0, 1.0, 1.0, 1.0)


def _histograms(cohort: Cohort, predicted: np.ndarray | None = None) -> np.ndarray:
    expected = np.full(len(cohort), 13_000.0) if predicted is None else predicted
    return residual_histograms(encode(vars(cohort)), expected, cohort.insurance_cost, SCALE)


def test_the_bins_are_the_same_on_both_sides_of_zero_and_narrow_around_it() -> None:
    np.testing.assert_allclose(EDGES, -EDGES[::-1], atol=1e-12)
    widths = np.diff(EDGES)
    assert len(widths) == NUM_BINS and EDGES[NUM_BINS // 2] == 0.0
    assert widths.min() * SCALE < 1000 and (widths > 0).all()


def test_histograms_count_every_row_once_and_the_groups_make_up_the_whole() -> None:
    cohort = generate(300, seed=1)
    counts = check_histograms(_histograms(cohort), _total(300))
    assert counts[0].sum() == 300
    assert counts[2].sum() == (cohort.smoker == "yes").sum()
    assert (counts[1] + counts[2] == counts[0]).all()


def test_a_residual_beyond_the_bins_is_counted_in_the_outermost() -> None:
    cohort = generate(20, seed=1)
    counts = _histograms(cohort, np.full(20, 10 * 8 * SCALE))
    assert counts[0, 0] == 20


def test_too_few_smokers_withhold_both_groups_and_too_few_patients_everything() -> None:
    cohort = generate(30, seed=5)
    assert 0 < (cohort.smoker == "yes").sum() < 10
    assert _histograms(cohort).sum(axis=1).tolist() == [30, 0, 0]
    assert not _histograms(generate(9, seed=5)).any()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[20], [12], [4]], "fewer than 10 patients"),
        ([[20], [16], [0]], "fewer than 10 patients"),  # 4 are all minus the others
        ([[20], [15], [15]], "more than those of all"),
        ([[21], [10], [10]], "do not add up"),
        ([[20], [20]], "not in the bins asked for"),
    ],
)
def test_histograms_that_cannot_be_are_refused(rows: list[list[int]], words: str) -> None:
    counts = np.zeros((len(rows), NUM_BINS), dtype=np.uint32)
    counts[:, 14] = np.ravel(rows)
    with pytest.raises(ValueError, match=words):
        check_histograms(counts, _total(20))


@given(COUNTS)
@settings(max_examples=50)
def test_the_window_holds_enough_rows_and_no_shorter_one_around_zero_does(counts: np.ndarray) -> None:
    rows = int(counts.sum())
    needed = int(np.ceil(np.round(0.9 * (rows + 1), 6)))
    window = shortest_window(counts)
    inner = range(1, NUM_BINS // 2 + 1), range(NUM_BINS // 2, NUM_BINS)
    widths = [
        EDGES[high] - EDGES[low]
        for low in inner[0]
        for high in inner[1]
        if rows >= 19 and counts[low:high].sum() >= needed
    ]
    if window is None:
        assert widths == []
    else:
        low, high = window
        assert counts[low:high].sum() >= needed
        assert EDGES[low] <= 0 <= EDGES[high]
        assert EDGES[high] - EDGES[low] == pytest.approx(min(widths))


@pytest.mark.parametrize(("rows", "answered"), [(18, False), (19, True)])
def test_an_interval_needs_nineteen_rows(rows: int, answered: bool) -> None:
    counts = np.zeros(NUM_BINS, dtype=np.int64)
    counts[NUM_BINS // 2] = rows
    assert (shortest_window(counts) is not None) == answered


def test_rows_in_a_bin_without_an_end_make_no_interval() -> None:
    counts = np.zeros(NUM_BINS, dtype=np.int64)
    counts[NUM_BINS // 2], counts[-1] = 50, 50
    assert shortest_window(counts) is None
    assert calibrate([np.stack([counts, counts, 0 * counts])], SCALE) is None


@pytest.mark.parametrize("held_out", [(2000, 600), (400, 120), (60, 25)])
def test_nine_of_ten_new_costs_of_either_group_lie_within(held_out: tuple[int, int]) -> None:
    """Skewed errors of other spread in each group, as surcharges make them; averaged over many calibrations."""
    random = np.random.default_rng(3)
    cohort = generate(4000, seed=3)
    inputs = encode(vars(cohort))
    groups = {value: np.flatnonzero(cohort.smoker == value) for value in ("no", "yes")}

    def costs(rows: np.ndarray, value: str) -> np.ndarray:
        spread = 800.0 if value == "no" else 2500.0
        surcharge = (random.random(len(rows)) < 0.088) * random.normal(14_500, 4_900, len(rows))
        return 20_000 + random.normal(-900, spread, len(rows)) + surcharge

    covered: dict[str, list[float]] = {"no": [], "yes": []}
    for _ in range(60):
        rows = np.concatenate(
            [random.choice(groups[value], n) for value, n in zip(groups, held_out, strict=True)]
        )
        values = cohort.smoker[rows]
        actual = np.concatenate([costs(rows[values == value], value) for value in groups])
        calibration = calibrate(
            [residual_histograms(inputs[rows], np.full(len(rows), 20_000.0), actual, SCALE)], SCALE
        )
        assert calibration is not None
        for value in groups:
            new = costs(np.arange(1000), value)
            low, high = calibration.interval(np.full(1000, 20_000.0), np.full(1000, value))
            covered[value].append(float(((new >= low) & (new <= high)).mean()))
    for value in groups:
        assert 0.88 <= np.mean(covered[value]) <= 0.93, value


def test_a_group_with_too_few_rows_takes_the_interval_of_all_patients() -> None:
    sites = [_histograms(generate(30, seed=5)), _histograms(generate(40, seed=9))]
    assert [site[2].sum() for site in sites] == [0, 0]
    calibration = calibrate(sites, SCALE)
    assert calibration is not None
    smokers, others = calibration.groups["yes"], calibration.groups["no"]
    assert smokers is not None and smokers == others
    assert smokers.all_patients and smokers.num_examples == 70


def test_without_enough_rows_there_is_no_calibration() -> None:
    assert calibrate([], SCALE) is None
    assert calibrate([_histograms(generate(15, seed=5))], SCALE) is None


def test_an_interval_never_goes_below_zero_and_says_nothing_of_an_unknown_group() -> None:
    calibration = Calibration({"no": GroupInterval(-3000.0, 5000.0, 200, False), "yes": None})
    low, high = calibration.interval(np.array([1000.0, 10_000.0, 10_000.0]), np.array(["no", "no", "yes"]))
    assert low[:2].tolist() == [0.0, 7000.0] and high[:2].tolist() == [6000.0, 15_000.0]
    assert np.isnan([low[2], high[2]]).all()
    assert calibration.offsets("no") == (-3000.0, 5000.0)
    assert calibration.offsets("yes") is None and calibration.offsets("sometimes") is None


def test_a_calibration_survives_the_database() -> None:
    calibration = calibrate([_histograms(generate(300, seed=1))], SCALE)
    assert calibration is not None
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration
