"""Sums that Sites send give exactly what the pooled rows would give."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from sklearn.preprocessing import StandardScaler

from db.cohort import generate
from fl.evaluation import HoldoutSums, holdout_sums, pooled
from fl.features import INPUT_NAMES, encode
from fl.statistics import Moments, moments_of, pooled_preprocessing

REGIONS = ("northeast", "northwest", "southeast", "southwest")


def _rows(seed: int = 3) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rows = {}
    for number, region in enumerate(REGIONS):
        cohort = generate(60 + 20 * number, seed=seed + number, region=region)
        rows[region] = encode(vars(cohort)), cohort.insurance_cost
    return rows


def test_the_pooled_scaler_equals_standard_scaler_on_all_rows() -> None:
    rows = _rows()
    scaler = pooled_preprocessing(moments_of(inputs, cost) for inputs, cost in rows.values())
    expected = StandardScaler().fit(np.vstack([inputs for inputs, _ in rows.values()]))
    costs = np.concatenate([cost for _, cost in rows.values()])
    np.testing.assert_allclose(scaler.mean, expected.mean_, rtol=0, atol=1e-10)
    np.testing.assert_allclose(scaler.scale, expected.scale_, rtol=1e-10)
    assert scaler.target_mean == pytest.approx(costs.mean(), rel=1e-12)
    assert scaler.target_scale == pytest.approx(costs.std(), rel=1e-12)


def test_a_column_without_spread_keeps_scale_one() -> None:
    inputs, cost = _rows()["northeast"]  # all rows are of one region
    scaler = pooled_preprocessing([moments_of(inputs, cost)])
    constant = [INPUT_NAMES.index("region_northeast"), INPUT_NAMES.index("region_southwest")]
    assert [scaler.scale[index] for index in constant] == [1.0, 1.0]
    assert np.isfinite(scaler.scale_inputs(inputs)).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda numbers: numbers[:-1], "shape"),
        (lambda numbers: np.where(np.arange(29) == 4, np.nan, numbers), "cannot be"),
        (lambda numbers: np.where(np.arange(29) == 0, 0.0, numbers), "cannot be"),
        (lambda numbers: np.where(np.arange(29) == 0, 7.5, numbers), "cannot be"),
    ],
)
def test_impossible_statistics_are_refused(change: object, words: str) -> None:
    numbers = moments_of(*_rows()["southeast"]).to_array()
    assert Moments.from_array(numbers).count == 100
    with pytest.raises(ValueError, match=words):
        Moments.from_array(change(numbers))  # type: ignore[operator]


def test_pooled_metrics_equal_those_of_all_rows_together() -> None:
    generator = np.random.default_rng(1)
    actual = [generator.normal(13_000, 9_000, size) for size in (12, 45, 3)]
    predicted = [values + generator.normal(0, 3_000, len(values)) for values in actual]
    sums = [holdout_sums(p, a) for p, a in zip(predicted, actual, strict=True)]
    sent = [HoldoutSums.from_list(part.to_list()) for part in sums]
    metrics = pooled(sent).metrics(target_scale=9_000.0)
    assert metrics is not None
    all_actual, all_predicted = np.concatenate(actual), np.concatenate(predicted)
    assert metrics.num_examples == 60
    assert metrics.r2 == pytest.approx(r2_score(all_actual, all_predicted), abs=1e-12)
    assert metrics.mae == pytest.approx(mean_absolute_error(all_actual, all_predicted))
    assert metrics.rmse**2 == pytest.approx(mean_squared_error(all_actual, all_predicted))
    assert metrics.loss == pytest.approx(metrics.rmse**2 / 9_000.0**2)


def test_metrics_of_no_rows_and_of_equal_costs_are_undefined_not_wrong() -> None:
    assert pooled([]).metrics(1.0) is None
    equal = holdout_sums(np.array([5.0, 6.0]), np.array([7.0, 7.0])).metrics(1.0)
    assert equal is not None and equal.r2 is None and equal.mae == 1.5


@pytest.mark.parametrize(
    "numbers", [[1.0] * 4, [1.0] * 6, [float("nan")] * 5, [-1.0] + [0.0] * 4, [1.5] + [0.0] * 4]
)
def test_an_impossible_evaluation_is_refused(numbers: list[float]) -> None:
    with pytest.raises(ValueError):
        HoldoutSums.from_list(numbers)
