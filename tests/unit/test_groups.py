"""A Site tells its groups apart, and says nothing by which fewer than ten patients could be known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.cohort import Cohort, generate
from fl.evaluation import HoldoutSums, holdout_sums, told
from fl.features import FEATURES, encode
from fl.groups import (
    GROUPS,
    SMALLEST_CELL,
    group_sums,
    groups_from_array,
    groups_to_array,
    pooled_group_metrics,
    withheld_cells,
)

CELLS = st.lists(st.integers(0, 40), min_size=2, max_size=6)


def _evaluated(cohort: Cohort) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    predicted = cohort.insurance_cost + np.random.default_rng(1).normal(0, 3000, len(cohort))
    return encode(vars(cohort)), predicted, cohort.insurance_cost


def test_every_row_is_in_exactly_one_group_of_each_feature_that_has_groups() -> None:
    inputs = encode(vars(generate(500, seed=4)))
    for feature in FEATURES:
        groups = [group for group in GROUPS if group.feature == feature.name]
        assert bool(groups) == bool(feature.categories or feature.bands)
        if groups:
            assert (np.sum([group.members(inputs) for group in groups], axis=0) == 1).all()


def test_a_band_begins_at_its_lower_end_and_is_called_as_people_read_it() -> None:
    ages = {group.code: group for group in GROUPS if group.feature == "age"}
    columns = {"age": [29, 30, 44, 45], "sex": ["male"] * 4, "bmi": [30.0] * 4, "children": [0] * 4}
    inputs = encode({**columns, "smoker": ["no"] * 4, "region": ["southeast"] * 4})
    assert ages["30-45"].members(inputs).tolist() == [False, True, True, False]
    assert [group.label for group in ages.values()] == [
        "under 30 years",
        "30–44 years",
        "45–54 years",
        "55 years and over",
    ]
    assert {"Smoker: yes", "25 to under 30 kg/m²"} <= {group.label for group in GROUPS}


@given(CELLS)
def test_no_small_cell_is_told_and_none_follows_from_the_total(counts: list[int]) -> None:
    withheld = withheld_cells(counts)
    told_cells = [count for index, count in enumerate(counts) if index not in withheld]
    assert all(count == 0 or count >= SMALLEST_CELL for count in told_cells)
    if withheld and sum(counts) >= SMALLEST_CELL:
        hidden = [counts[index] for index in withheld]
        assert len(hidden) >= 2 or told_cells == [0] * len(told_cells)
        assert sum(counts) - sum(told_cells) == sum(hidden) >= SMALLEST_CELL


@given(CELLS)
def test_no_more_is_withheld_than_needed(counts: list[int]) -> None:
    """Without small cells nothing is; with them, no cell is larger than all of those that are told."""
    withheld = withheld_cells(counts)
    if all(count == 0 or count >= SMALLEST_CELL for count in counts):
        assert withheld == set()
    told_cells = [count for index, count in enumerate(counts) if index not in withheld and count > 0]
    assert all(counts[index] <= min(told_cells, default=10**9) for index in withheld)


@pytest.mark.parametrize(
    ("counts", "withheld"),
    [
        ([60, 4], {0, 1}),  # 4 would be the total minus 60
        ([30, 3, 12, 25], {1, 2}),
        ([2, 3, 50, 11], {0, 1, 3}),  # 2 and 3 together are still fewer than ten
        ([0, 40, 0, 0], set()),  # all patients of one region: nobody is hidden by a zero
        ([6, 40, 9], {0, 2}),
    ],
)
def test_the_next_smallest_cell_is_withheld_with_a_small_one(counts: list[int], withheld: set[int]) -> None:
    assert withheld_cells(counts) == withheld


def test_pooled_groups_equal_the_same_groups_of_all_rows_where_nothing_was_withheld() -> None:
    sites = [generate(400, seed=seed) for seed in (1, 2, 3)]
    sent = []
    for site in sites:
        inputs, predicted, actual = _evaluated(site)
        sums = group_sums(inputs, predicted, actual)
        sent.append(groups_from_array(groups_to_array(sums), holdout_sums(predicted, actual)))
    pooled = pooled_group_metrics(sent, target_scale=12_000.0)
    parts = [_evaluated(site) for site in sites]
    inputs, predicted, actual = (np.concatenate([part[i] for part in parts]) for i in range(3))
    checked = 0
    for index, group in enumerate(GROUPS):
        if all(one[index] is not None for one in sent):
            rows = group.members(inputs)
            metrics = pooled[group.feature][group.code]
            assert metrics is not None and metrics["num_examples"] == rows.sum()
            assert metrics["mae"] == pytest.approx(np.abs(predicted[rows] - actual[rows]).mean())
            checked += 1
    assert checked >= 12


def test_a_group_that_only_one_site_tells_of_is_of_that_site_alone() -> None:
    few, many = generate(30, seed=5), generate(400, seed=6)
    sent = [group_sums(*_evaluated(site)) for site in (few, many)]
    smoker = next(index for index, group in enumerate(GROUPS) if group.code == "yes")
    assert sent[0][smoker] is None and sent[1][smoker] is not None
    pooled = pooled_group_metrics(sent, target_scale=12_000.0)
    assert pooled["smoker"]["yes"]["num_examples"] == (many.smoker == "yes").sum()  # type: ignore[index]


def test_a_group_that_no_site_tells_of_is_withheld() -> None:
    pooled = pooled_group_metrics([group_sums(*_evaluated(generate(25, seed=5)))] * 3, target_scale=12_000.0)
    assert pooled["smoker"] == {"no": None, "yes": None}


def test_a_site_of_fewer_than_ten_held_out_rows_says_nothing() -> None:
    inputs, predicted, actual = _evaluated(generate(9, seed=1))
    assert told(holdout_sums(predicted, actual)).to_list() == [0.0] * 5
    assert np.isnan(groups_to_array(group_sums(inputs, predicted, actual))).all()


def _sent() -> tuple[np.ndarray, HoldoutSums]:
    inputs, predicted, actual = _evaluated(generate(400, seed=8, region="southeast"))
    return groups_to_array(group_sums(inputs, predicted, actual)), holdout_sums(predicted, actual)


def _index(feature: str, code: str) -> int:
    return next(i for i, group in enumerate(GROUPS) if (group.feature, group.code) == (feature, code))


@pytest.mark.parametrize(
    ("feature", "code", "row", "words"),
    [
        ("sex", "male", [7.0, 1.0, 1.0, 1.0, 1.0], "fewer than 10 patients"),
        ("sex", "male", [390.0, 1.0, 1.0, 1.0, 1.0], "do not add up"),
        ("sex", "male", [20.0, 1.0, 1.0, 1.0, 1.0], "do not add up"),
        ("sex", "male", [20.5, 1.0, 1.0, 1.0, 1.0], "counts rows that cannot be"),
        ("sex", "male", [20.0, -1.0, 1.0, 1.0, 1.0], "sum that cannot be"),
        ("sex", "male", [20.0, np.nan, 1.0, 1.0, 1.0], "number that cannot be"),
        ("region", "northeast", [np.nan] * 5, None),
    ],
)
def test_groups_that_cannot_be_are_refused(
    feature: str, code: str, row: list[float], words: str | None
) -> None:
    array, total = _sent()
    array[_index(feature, code)] = row
    if words is None:
        assert groups_from_array(array, total)[_index(feature, code)] is None
    else:
        with pytest.raises(ValueError, match=words):
            groups_from_array(array, total)


def test_groups_from_which_a_few_patients_follow_are_refused() -> None:
    array, total = _sent()
    female, male = _index("sex", "female"), _index("sex", "male")
    array[female], array[male] = [total.count - 4, 1.0, 1.0, 1.0, 1.0], np.nan
    with pytest.raises(ValueError, match="let fewer than 10 patients be computed"):
        groups_from_array(array, total)


def test_codes_are_unique_within_a_feature() -> None:
    for _, groups in itertools.groupby(GROUPS, key=lambda group: group.feature):
        codes = [group.code for group in groups]
        assert len(codes) == len(set(codes))
