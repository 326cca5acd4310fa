"""The invented cohort has the moments that were measured on the published data."""

from __future__ import annotations

import numpy as np
import pytest

from db.cohort import MEAN_BMI, REGIONS, Cohort, expected_cost, generate
from fl.features import FEATURES, parse_value

SIZE = 40_000


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return generate(SIZE, seed=1)


def test_the_same_seed_invents_the_same_people() -> None:
    first, again, other = generate(50, seed=3), generate(50, seed=3), generate(50, seed=4)
    for feature in FEATURES:
        assert np.array_equal(getattr(first, feature.name), getattr(again, feature.name))
    assert np.array_equal(first.insurance_cost, again.insurance_cost)
    assert not np.array_equal(first.insurance_cost, other.insurance_cost)


def test_ages_run_from_18_to_64_with_more_of_the_youngest(cohort: Cohort) -> None:
    assert cohort.age.min() == 18
    assert cohort.age.max() == 64
    counts = np.bincount(cohort.age)
    assert counts[18:20].mean() / counts[20:65].mean() == pytest.approx(2.5, abs=0.15)


@pytest.mark.parametrize("region", REGIONS)
def test_body_mass_index_depends_on_region_and_age(cohort: Cohort, region: str) -> None:
    here = cohort.region == region
    assert cohort.bmi[here].mean() == pytest.approx(MEAN_BMI[region], abs=0.25)
    assert cohort.bmi[here].std() == pytest.approx(5.8, abs=0.15)
    slope = np.polyfit(cohort.age[here], cohort.bmi[here], 1)[0]
    assert slope == pytest.approx(0.049, abs=0.015)
    assert cohort.bmi.min() >= 15.5
    assert cohort.bmi.max() <= 54.0


def test_shares_of_smokers_and_of_children(cohort: Cohort) -> None:
    smokers = cohort.smoker == "yes"
    assert smokers[cohort.sex == "male"].mean() == pytest.approx(0.235, abs=0.01)
    assert smokers[cohort.sex == "female"].mean() == pytest.approx(0.174, abs=0.01)
    shares = np.bincount(cohort.children, minlength=6) / SIZE
    assert shares == pytest.approx([0.429, 0.242, 0.179, 0.118, 0.019, 0.013], abs=0.008)


def test_most_costs_obey_the_formula_and_the_rest_carry_a_surcharge(cohort: Cohort) -> None:
    expected = expected_cost(
        age=cohort.age,
        male=cohort.sex == "male",
        bmi=cohort.bmi,
        children=cohort.children,
        smoker=cohort.smoker == "yes",
        region=cohort.region,
    )
    surcharge = cohort.insurance_cost - expected
    surcharged = surcharge > 0.01
    assert np.abs(surcharge[~surcharged]).max() <= 0.0051
    assert surcharged.mean() == pytest.approx(0.088, abs=0.006)
    assert surcharge[surcharged].mean() == pytest.approx(14_500, rel=0.02)
    assert surcharge[surcharged].std() == pytest.approx(4_900, rel=0.04)


def test_the_formula_gives_a_known_cost_of_the_published_data() -> None:
    """Row 1 of the data: a woman of 19, BMI 27.9, no children, smoker, southwest: 16,884.92 USD."""
    cost = expected_cost(
        age=np.array([19]),
        male=np.array([False]),
        bmi=np.array([27.9]),
        children=np.array([0]),
        smoker=np.array([True]),
        region=np.array(["southwest"]),
    )
    assert cost[0] == pytest.approx(16_884.92, rel=0.005)


def test_every_value_is_one_that_the_product_accepts() -> None:
    people = generate(200, seed=2)
    for feature in FEATURES:
        for value in getattr(people, feature.name).tolist():
            assert parse_value(feature, value) == value


def test_one_region_only_and_an_unknown_one() -> None:
    assert set(generate(20, seed=1, region="northwest").region.tolist()) == {"northwest"}
    with pytest.raises(ValueError, match="unknown region 'north'"):
        generate(20, seed=1, region="north")
