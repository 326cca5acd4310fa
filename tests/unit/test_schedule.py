"""What settings and seed say of a Round: learning rate, draws, early stopping."""

from __future__ import annotations

import pytest

from fl.round_answers import wild_updates
from fl.schedule import EarlyStopping, draw_round, drawn_sites, learning_rate_in
from fl.settings import SCHEDULES, RunSettings

CODES = tuple("abcdefghij")


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [1.0, 0.79, 0.58, 0.37, 0.16]),
        ("cosine", [1.0, 0.87698, 0.58, 0.28302, 0.16]),
        ("exponential", [1.0, 0.63246, 0.4, 0.25298, 0.16]),
    ],
)
def test_each_schedule_ends_where_it_is_told_to(schedule: str, expected: list[float]) -> None:
    settings = RunSettings(
        learning_rate=0.01, learning_rate_schedule=schedule, final_learning_rate_share=0.16
    )
    rates = [learning_rate_in(settings, number, 5) for number in range(1, 6)]
    assert rates == pytest.approx([0.01 * share for share in expected], rel=1e-4)
    assert learning_rate_in(settings, 1, 1) == 0.01


def test_every_schedule_is_one_of_those_above() -> None:
    assert set(SCHEDULES) == {"constant", "linear", "cosine", "exponential"}


def test_a_draw_depends_on_seed_and_round_alone() -> None:
    draws = [drawn_sites(CODES, 0.5, 2, seed=7, number=number, stream=1) for number in range(1, 30)]
    again = [drawn_sites(reversed(CODES), 0.5, 2, seed=7, number=number, stream=1) for number in range(1, 30)]
    assert draws == again
    assert {len(draw) for draw in draws} == {5}
    assert len(set(draws)) > 20 and frozenset().union(*draws) == set(CODES)
    assert drawn_sites(CODES, 0.5, 2, seed=8, number=1, stream=1) != draws[0]


@pytest.mark.parametrize(
    ("fraction", "minimum", "drawn"), [(0.5, 2, 5), (0.51, 2, 6), (0.7, 1, 7), (0.1, 3, 3), (0.1, 99, 10)]
)
def test_never_fewer_than_the_share_or_the_minimum_are_drawn(
    fraction: float, minimum: int, drawn: int
) -> None:
    assert len(drawn_sites(CODES, fraction, minimum, seed=1, number=1, stream=1)) == drawn


def test_a_site_trains_evaluates_does_both_or_is_not_asked() -> None:
    settings = RunSettings(fraction_fit=0.5, fraction_evaluate=0.5)
    draw = draw_round(settings, seed=3, number=2, present=CODES, everybody=CODES)
    assert draw.fit != draw.evaluate and len(draw.fit) == len(draw.evaluate) == 5
    for code in draw.asked:
        tasks = {name for name, codes in (("train", draw.fit), ("evaluate", draw.evaluate)) if code in codes}
        assert set(draw.tasks(code).split(",")) == tasks
    assert draw.asked != set(CODES)
    assert draw.tasks("one that has just come back") == "train,evaluate"


def test_a_share_of_one_asks_everybody_whoever_is_there() -> None:
    draw = draw_round(RunSettings(), seed=3, number=2, present=CODES[:4], everybody=CODES)
    assert draw.fit == draw.evaluate == set(CODES)


def test_training_stops_once_rounds_no_longer_help() -> None:
    stopping = EarlyStopping(rounds=2, improvement=0.01)
    assert [stopping.observe(*round_loss) for round_loss in [(1, 1.0), (2, 0.5), (3, 0.495), (4, 0.491)]] == [
        False,
        False,
        False,
        True,
    ]
    assert stopping.improved_at == 2


def test_small_steps_that_add_up_are_an_improvement() -> None:
    stopping = EarlyStopping(rounds=2, improvement=0.01)
    assert not any(stopping.observe(number, 1.0 - 0.006 * number) for number in range(1, 9))


def test_zero_rounds_never_stop() -> None:
    stopping = EarlyStopping(rounds=0, improvement=0.5)
    assert not any(stopping.observe(number, 1.0) for number in range(1, 50))


def test_an_update_is_compared_with_the_median_of_the_others() -> None:
    assert wild_updates({"a": 1.0, "b": 1.2, "c": 10.0}, 10.0) == {}
    rejected = wild_updates({"a": 1.0, "b": 1.2, "c": 11.1}, 10.0)
    assert rejected.keys() == {"c"} and "more than 10 times 1.1" in rejected["c"]
    assert wild_updates({"a": 1e9}, 10.0) == {}  # nobody to compare with
