"""Federated least squares equals pooled least squares, and its products single out no few patients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from bench.data import INSURANCE_CSV, insurance_cohort
from db.cohort import Cohort, generate
from fl.evaluation import NOTHING_TOLD
from fl.features import FEATURE_NAMES, encode
from fl.least_squares import (
    NUM_TERMS,
    TERM_NAMES,
    CostLine,
    Products,
    products_of,
    products_told,
    solve,
    terms_of,
)


def _rows(cohort: Cohort) -> tuple[np.ndarray, np.ndarray]:
    return encode({name: getattr(cohort, name) for name in FEATURE_NAMES}), cohort.insurance_cost


INPUTS, COST = _rows(generate(900, seed=4))


def _pooled(inputs: np.ndarray, cost: np.ndarray) -> np.ndarray:
    return LinearRegression().fit(terms_of(inputs)[:, 1:], cost).predict(terms_of(INPUTS)[:, 1:])


def _sent(inputs: np.ndarray, cost: np.ndarray) -> Products:
    return Products.from_array(products_of(inputs, cost).to_array(), len(cost))


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0.02, 50.0))
def test_however_the_rows_are_spread_the_line_is_that_of_all_rows_together(
    seed: int, evenness: float
) -> None:
    random = np.random.default_rng(seed)
    site = random.choice(4, len(COST), p=random.dirichlet([evenness] * 4))
    parts = [products_of(INPUTS[site == code], COST[site == code]) for code in np.unique(site)]
    line = solve(parts)
    assert line is not None
    np.testing.assert_allclose(line.costs(INPUTS), _pooled(INPUTS, COST), atol=1e-6)


def test_what_no_row_has_does_not_make_the_line_singular() -> None:
    """One region only, nobody smokes: five columns are constant, and their sums say so."""
    alike = (INPUTS[:, TERM_NAMES.index("region_southeast") - 1] == 1) & (
        INPUTS[:, TERM_NAMES.index("smoker_yes") - 1] == 0
    )
    line = solve([_sent(INPUTS[alike], COST[alike])])
    assert line is not None
    expected = LinearRegression().fit(terms_of(INPUTS[alike])[:, 1:], COST[alike])
    np.testing.assert_allclose(
        line.costs(INPUTS[alike]), expected.predict(terms_of(INPUTS[alike])[:, 1:]), atol=1e-6
    )
    assert np.abs(line.coefficients).max() < 1e5
    assert line.coefficients[TERM_NAMES.index("smoker_bmi")] == 0


def test_without_any_site_there_is_no_line() -> None:
    assert solve([]) is None


@pytest.mark.skipif(not INSURANCE_CSV.exists(), reason="insurance.csv is not here")
def test_on_the_published_data_one_message_reaches_what_all_rows_in_one_place_reach() -> None:
    cohort = insurance_cohort()
    trains = cohort.training_side(0)
    told = [
        products_told(
            cohort.inputs[trains & (cohort.site == code)], cohort.cost[trains & (cohort.site == code)]
        )
        for code in cohort.sites
    ]
    line = solve(products for products in told if products is not None)
    assert None not in told and line is not None
    expected = LinearRegression().fit(terms_of(cohort.inputs[trains])[:, 1:], cohort.cost[trains])
    held_out = cohort.inputs[~trains]
    np.testing.assert_allclose(line.costs(held_out), expected.predict(terms_of(held_out)[:, 1:]), atol=1e-6)
    assert line.holdout_told(held_out, cohort.cost[~trains]).metrics(1.0).r2 == pytest.approx(
        0.8585, abs=5e-4
    )  # type: ignore[union-attr]


def _members(**values: str) -> np.ndarray:
    chosen = np.ones(len(INPUTS), dtype=bool)
    for name, value in values.items():
        column = TERM_NAMES.index(name if name == "obese" else f"{name}_{value}") - 1
        chosen &= INPUTS[:, column] == (float(value == "yes") if name == "obese" else 1.0)
    return chosen


@pytest.mark.parametrize(
    "few",
    [
        {"smoker": "yes"},
        {"smoker": "no"},
        {"sex": "male"},
        {"region": "northwest"},
        {"smoker": "yes", "obese": "no"},  # their cost is that of smokers minus that of obese smokers
        {"smoker": "no", "obese": "yes"},
        {"smoker": "yes", "sex": "female"},  # their BMI is summed up with that of all women's
        {"sex": "male", "obese": "no"},
    ],
)
@pytest.mark.parametrize("left", [1, 9])
def test_products_that_would_tell_of_one_to_nine_patients_are_withheld(
    few: dict[str, str], left: int
) -> None:
    members = _members(**few)
    keep = ~members
    keep[np.flatnonzero(members)[:left]] = True
    assert products_told(INPUTS[keep], COST[keep]) is None
    with pytest.raises(ValueError, match="fewer than 10 patients"):
        _sent(INPUTS[keep], COST[keep])


@pytest.mark.parametrize("few", [{"smoker": "yes"}, {"region": "northwest"}])
def test_nobody_of_a_kind_or_ten_of_every_pair_are_told(few: dict[str, str]) -> None:
    without = ~_members(**few)
    assert products_told(INPUTS[without], COST[without]) is not None
    assert products_told(INPUTS, COST) is not None


@pytest.mark.parametrize(("column", "value"), [("children", 0.0), ("age", 40.0), ("bmi", 27.0)])
def test_a_number_that_few_patients_have_differently_withholds_the_products(
    column: str, value: float
) -> None:
    """Nobody but one has children: the product of children and cost is that patient's cost."""
    inputs = INPUTS.copy()
    inputs[:, TERM_NAMES.index(column) - 1] = value
    inputs[:3, TERM_NAMES.index(column) - 1] = value + 1
    assert products_told(inputs, COST) is None


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(3), "3 numbers instead of 152"),
        (np.full(152, np.nan), "a number that cannot be"),
        (np.zeros(152), "do not fit its number of rows"),
        (-products_of(INPUTS, COST).to_array(), "do not fit its number of rows"),
    ],
)
def test_products_that_cannot_be_are_refused(array: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Products.from_array(array, len(COST))


@pytest.mark.parametrize("coefficients", [np.zeros(3), np.full(NUM_TERMS, np.inf)])
def test_a_line_that_cannot_be_is_refused(coefficients: np.ndarray) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        CostLine.from_array(coefficients)


def test_of_nine_held_out_rows_the_line_tells_nothing() -> None:
    line = solve([products_of(INPUTS, COST)])
    assert line is not None
    assert line.holdout_told(INPUTS[:9], COST[:9]) == NOTHING_TOLD
    assert line.holdout_told(INPUTS[:10], COST[:10]).count == 10
    assert CostLine.from_json(line.to_json()).to_json() == line.to_json()
