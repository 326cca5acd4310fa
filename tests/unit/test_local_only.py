"""Training alone: the interval of the gain means what it says, and what a Site sends is checked."""

from __future__ import annotations

import math

import numpy as np
import pytest

from db.cohort import Cohort, generate
from fl import local_only
from fl.evaluation import holdout_sums
from fl.features import FEATURE_NAMES, encode
from fl.local_only import LocalModel, gain_interval, train_alone
from fl.settings import RunSettings
from fl.site_data import SiteData
from fl.site_work import local_seed

RANDOM = np.random.default_rng(3)


def _rows(cohort: Cohort) -> tuple[np.ndarray, np.ndarray]:
    return encode({name: getattr(cohort, name) for name in FEATURE_NAMES}), cohort.insurance_cost


def _data(train: int, held_out: int) -> SiteData:
    return SiteData(*_rows(generate(train, seed=1)), *_rows(generate(held_out, seed=2)))


def _rmse(predicted: np.ndarray, actual: np.ndarray) -> float:
    return math.sqrt(float(np.mean((predicted - actual) ** 2)))


def test_nine_in_ten_intervals_hold_the_true_gain() -> None:
    true = math.sqrt(1.3**2) - math.sqrt(1.0)
    covered = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        actual = np.zeros(120)
        low, high = gain_interval(1.3 * random.normal(size=120), random.normal(size=120), actual, seed=seed)
        covered += low <= true <= high
    assert 30 <= covered <= 39


def test_a_clear_gain_and_a_clear_loss_do_not_reach_zero() -> None:
    actual = RANDOM.normal(13_000, 12_000, size=200)
    good, bad = (actual + RANDOM.normal(0, error, size=200) for error in (3_000, 6_000))
    low, high = gain_interval(bad, good, actual, seed=1)
    assert 0 < low < _rmse(bad, actual) - _rmse(good, actual) < high
    assert gain_interval(good, bad, actual, seed=1)[1] < 0
    assert gain_interval(good, good, actual, seed=1) == (0.0, 0.0)


def test_many_rows_give_the_interval_of_single_draws_in_less_time(monkeypatch: pytest.MonkeyPatch) -> None:
    actual = np.zeros(6_001)
    one, other = RANDOM.normal(0, 5_000, size=(2, len(actual)))
    quick = gain_interval(one, other, actual, seed=1)
    monkeypatch.setattr(local_only, "MOST_DRAWN", len(actual))
    slow = gain_interval(one, other, actual, seed=1)
    assert quick == pytest.approx(slow, abs=0.2 * (slow[1] - slow[0]))


def _train(data: SiteData, **changes: float) -> LocalModel | None:
    settings = RunSettings(local_epochs=1, batch_size=int(changes.get("batch_size", 32)))
    return train_alone(
        data,
        [data.holdout_cost],
        settings=settings,
        num_rounds=3,
        seed=5,
        seed_of_round=lambda number: local_seed(5, number, "one"),
        seconds=changes.get("seconds", 20.0),
    )


def test_rounds_are_told_and_the_best_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _data(200, 60)
    model = _train(data)
    assert model is not None and (model.rounds, model.sums.count) == (3, 60)
    assert 1 <= model.best_round <= 3
    assert model.gains[0][0] > 0  # nothing is better than the costs themselves
    assert _train(data) == model
    monkeypatch.setattr(local_only, "MOST_STEPS", 14)
    fewer = _train(data)
    assert fewer is not None and fewer.rounds == 2  # seven steps each
    monkeypatch.setattr(local_only, "MOST_STEPS", 6)
    assert _train(data) is None
    assert _train(_data(200, 9)) is None


def test_no_round_begins_after_the_time_limit() -> None:
    model = _train(_data(200, 60), seconds=0.0)
    assert model is not None and model.rounds == 1


SUMS = holdout_sums(np.ones(30), np.arange(30.0)).to_list()


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([3, 2, *SUMS], "not told as it was asked for"),
        ([3, 4, *SUMS, -1, 1], "counts rounds that cannot be"),
        ([3, 0, *SUMS, -1, 1], "counts rounds that cannot be"),
        ([3, 2, *SUMS, 1, -1], "not told as it was asked for"),
        ([3, 2, *SUMS, math.nan, 1], "not told as it was asked for"),
        ([3, 2, 9, *SUMS[1:], -1, 1], "fewer than 10 held-out patients"),
        ([3, 2, 0, 0, 0, 0, 0, -1, 1], "not told as it was asked for"),
    ],
)
def test_a_comparison_that_cannot_be_is_refused(numbers: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LocalModel.from_array(np.array(numbers, dtype=np.float64), models=1)


def test_what_is_sent_is_read_back_and_nothing_may_be_sent() -> None:
    model = _train(_data(200, 60))
    assert model is not None
    assert LocalModel.from_array(model.to_array(), models=1) == model
    assert LocalModel.from_array(np.empty(0), models=2) is None
