"""What a Site tells of its patients: right counts, nothing of fewer than ten, and warnings that mean something."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.cohort import Cohort, generate
from fl.cohort_summary import (
    CELLS,
    MEASURES,
    NUMBERS,
    CohortSummary,
    averages_to_array,
    counts_to_array,
    edges_of,
    pool,
    summarise,
    summary_from_arrays,
)
from fl.cohort_warnings import warnings_of
from fl.evaluation import SMALLEST_CELL
from fl.features import FEATURE_BY_NAME

NAMES = [measure.name for measure in MEASURES]


def _columns(cohort: Cohort, **changed: Any) -> dict[str, list[Any]]:
    return {name: list(changed.get(name, getattr(cohort, name))) for name in NAMES}


def _site(seed: int, region: str | None = None, size: int = 600, **changes: Any) -> CohortSummary:
    cohort = generate(size, seed=seed, region=region)
    return summarise(
        _columns(cohort, **{name: change(getattr(cohort, name)) for name, change in changes.items()})
    )


def _sent(summary: CohortSummary) -> CohortSummary:
    return summary_from_arrays(summary.count, counts_to_array(summary), averages_to_array(summary))


@pytest.mark.parametrize("name", NAMES)
def test_every_patient_is_in_one_bin_and_bins_are_where_patients_are(name: str) -> None:
    cohort = generate(20_000, seed=1)
    summary = summarise(_columns(cohort)).measures[name]
    values = getattr(cohort, name)
    for cell, count in zip(CELLS[name], summary.counts, strict=True):
        inside = (
            values == cell.code
            if FEATURE_BY_NAME.get(name) and FEATURE_BY_NAME[name].kind == "category"
            else (values >= cell.lowest) & (values < cell.below)
        )
        assert count == inside.sum() or (count is None and inside.sum() < 250)
    assert summary.told > 19_700 and summary.missing == 0
    if name in NUMBERS:
        assert summary.mean == pytest.approx(values.mean()) and summary.sd == pytest.approx(values.std())
        assert 7 <= len(CELLS[name]) <= 20


def test_bins_follow_from_the_feature_table() -> None:
    assert edges_of(FEATURE_BY_NAME["age"]) == tuple(range(15, 66, 5))
    assert edges_of(FEATURE_BY_NAME["children"]) == (1, 2, 3, 4, 5, 6)
    assert [cell.code for cell in CELLS["insurance_cost"]][:4] == ["-500", "500-700", "700-1000", "1000-1500"]


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(10, 120), st.integers(0, 30))
def test_no_bin_of_fewer_than_ten_is_told_and_none_can_be_computed(
    seed: int, size: int, unknown: int
) -> None:
    cohort = generate(size, seed=seed)
    costs = [None] * min(unknown, size) + list(cohort.insurance_cost[unknown:])
    summary = summarise(_columns(cohort, insurance_cost=costs))
    for measure in summary.measures.values():
        cells = [*measure.counts, measure.missing]
        told = [cell for cell in cells if cell is not None]
        assert all(cell == 0 or cell >= SMALLEST_CELL for cell in told)
        assert size - sum(told) == 0 or (size - sum(told) >= SMALLEST_CELL and len(cells) - len(told) >= 2)
    assert _sent(summary) == summary


def test_how_many_costs_are_missing_is_a_cell_like_any_other() -> None:
    cohort = generate(400, seed=3)
    few = summarise(_columns(cohort, insurance_cost=[None] * 9 + list(cohort.insurance_cost[9:])))
    many = summarise(_columns(cohort, insurance_cost=[None] * 90 + list(cohort.insurance_cost[90:])))
    assert few.measures["insurance_cost"].missing is None and few.measures["age"].missing == 0
    assert many.measures["insurance_cost"].missing == 90
    assert many.measures["insurance_cost"].mean == pytest.approx(cohort.insurance_cost[90:].mean())
    none = summarise(_columns(cohort, insurance_cost=[None] * 395 + list(cohort.insurance_cost[395:])))
    assert none.measures["insurance_cost"].mean is None
    assert set(none.log_cost.values()) == {None}


def test_pooled_equals_all_rows_in_one_place_where_nothing_is_withheld() -> None:
    cohorts = [generate(9_000, seed=seed) for seed in (1, 2)]
    together = summarise(
        {name: [value for cohort in cohorts for value in getattr(cohort, name)] for name in NAMES}
    )
    sites = pool([summarise(_columns(cohort)) for cohort in cohorts])
    assert sites.count == together.count == 18_000
    for name in ("sex", "smoker", "region"):
        assert sites.measures[name].counts == together.measures[name].counts
    for name in NUMBERS:
        assert sites.measures[name].mean == pytest.approx(together.measures[name].mean)
        assert sites.measures[name].sd == pytest.approx(together.measures[name].sd)


def test_a_bin_that_one_site_withholds_and_no_other_fills_is_not_called_empty() -> None:
    full, empty = _site(1, size=4_000), _site(2, size=4_000, smoker=lambda _: ["no"] * 4_000)
    hidden = replace(
        full,
        measures={
            **full.measures,
            "smoker": replace(full.measures["smoker"], counts=(None, None)),
        },
    )
    assert pool([hidden, empty]).measures["smoker"].counts == (4_000, None)
    assert pool([hidden, hidden]).measures["smoker"].counts == (None, None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda counts, averages: (9, counts, averages), "fewer than 10 patients"),
        (lambda counts, averages: (600, counts[1:], averages), "not in the bins asked for"),
        (lambda counts, averages: (600, counts, averages[1:]), "not in the bins asked for"),
        (lambda counts, averages: (700, np.abs(counts), averages), "do not add up|fewer than 10"),
        (lambda counts, averages: (600, np.full_like(counts, 3), averages), "fewer than 10 patients"),
        (lambda counts, averages: (600, counts, np.full_like(averages, -5.0)), "cannot be"),
        (lambda counts, averages: (600, counts, np.full_like(averages, np.inf)), "not in the bins asked for"),
        (lambda counts, averages: (600, counts, np.array([40.0, np.nan, *averages[2:]])), "has no spread"),
    ],
)
def test_a_summary_that_cannot_be_is_refused(change: Any, words: str) -> None:
    summary = _site(1)
    with pytest.raises(ValueError, match=words):
        summary_from_arrays(*change(counts_to_array(summary), averages_to_array(summary)))


def test_bins_from_which_few_patients_follow_are_refused() -> None:
    summary = _site(1)
    counts = counts_to_array(summary)
    sex = len(CELLS["age"]) + 1
    counts[sex : sex + 2] = [595, -1]
    with pytest.raises(ValueError, match="let fewer than 10 patients be computed"):
        summary_from_arrays(600, counts, averages_to_array(summary))


REGIONS = ("northeast", "northwest", "southeast", "southwest")


def _said(sites: int = 4, **changes: Any) -> list[tuple[str, str, str]]:
    """Return the warnings if one Site of several is changed."""
    cohorts = {code: _site(place, code) for place, code in enumerate(REGIONS[:sites])}
    cohorts["northwest"] = _site(1, "northwest", **changes)
    return [(one.institution, one.feature, one.message) for one in warnings_of(cohorts)]


@pytest.mark.parametrize("seed", range(5))
def test_hospitals_that_differ_as_regions_do_are_not_warned_of(seed: int) -> None:
    assert warnings_of({code: _site(4 * seed + place, code) for place, code in enumerate(REGIONS)}) == []


@pytest.mark.parametrize(
    ("feature", "change", "words"),
    [
        ("insurance_cost", lambda cost: cost / 12, "lower than at the other hospitals. Are they of a month"),
        (
            "insurance_cost",
            lambda cost: cost * 83,
            "higher than at the other hospitals. Are they in another currency",
        ),
        (
            "insurance_cost",
            lambda cost: cost * 1.5,
            "smokers and of non-smokers alike are about 1.",
        ),
        (
            "insurance_cost",
            lambda cost: [None] * 240 + list(cost[240:]),
            "40 % of the patients have no known cost",
        ),
        ("age", lambda age: age + 50, "can hardly be. Are ages given in years"),
        ("age", lambda age: age + 25, "years at the other hospitals. Are ages given in years"),
        ("bmi", lambda bmi: bmi * 2.2, "which can hardly be. Is BMI computed from kilograms"),
        ("bmi", lambda bmi: bmi - 11, "kg/m² at the other hospitals. Is BMI computed from kilograms"),
        ("smoker", lambda smoker: ["no"] * len(smoker), "Smoker is 'no' of 100 % of the patients"),
        (
            "sex",
            lambda sex: ["male"] * 5 + ["female"] * (len(sex) - 5),
            "So few patients are of one kind by sex",
        ),
    ],
)
def test_what_may_spoil_a_training_is_said_of_the_right_hospital(
    feature: str, change: Any, words: str
) -> None:
    said = _said(**{feature: change})
    assert [(code, name) for code, name, _ in said] == [("northwest", feature)]
    assert words in said[0][2]


def test_of_two_hospitals_each_is_told_that_the_other_differs() -> None:
    said = _said(sites=2, insurance_cost=lambda cost: cost / 12)
    assert [code for code, _, _ in said] == ["northeast", "northwest"]
    assert "higher" in said[0][2] and "lower" in said[1][2]


def test_one_hospital_alone_is_compared_with_what_is_plausible() -> None:
    assert warnings_of({"one": _site(1)}) == []
    (said,) = warnings_of({"one": _site(1, bmi=lambda bmi: bmi * 2.2)})
    assert said.feature == "bmi"


def test_costs_that_may_not_be_told_by_smoker_are_compared_all_together() -> None:
    def few_smokers(smoker: Any) -> list[str]:
        return ["yes"] * 5 + ["no"] * (len(smoker) - 5)

    said = _said(smoker=few_smokers, insurance_cost=lambda cost: cost / 12)
    assert ("northwest", "insurance_cost") in [(code, name) for code, name, _ in said]
