"""What each strategy makes of the Sites' answers, against numbers worked by hand in the comments."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.supercore.task_identity import TaskIdentity

from fl.model import NUM_WEIGHTS, Weights
from fl.settings import (
    LIMITS,
    STRATEGIES,
    STRATEGY_DEFAULTS,
    RunSettings,
    check_run,
    settings_for,
)
from fl.strategies import MAKERS, Aggregator, SiteUpdate, beta_that_cuts, sites_cut

REMEMBERING = ("fedavgm", "fedadam", "fedyogi", "fedadagrad", "scaffold")
EMPTY = np.zeros(1, dtype=np.float32)


@pytest.fixture(autouse=True)
def inside_an_app() -> None:
    """A message of Flower can be made only where it runs an app: say that this process is one."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, SUPERLINK_NODE_ID, 1


def _updates(*sites: tuple[int, list[float]]) -> dict[str, SiteUpdate]:
    """Sites a, b, c, ... with their rows and what they sent."""
    return {
        chr(ord("a") + number): SiteUpdate(np.array(array, dtype=np.float32), rows, steps=1)
        for number, (rows, array) in enumerate(sites)
    }


def _next(
    aggregator: Aggregator,
    received: Weights | list[float],
    updates: Mapping[str, SiteUpdate],
    number: int = 1,
) -> list[float]:
    weights = np.asarray(received, dtype=np.float32)
    made = aggregator.aggregate(number, weights, updates, learning_rate=0.1)
    assert made.dtype == np.float32 and made.shape == weights.shape
    return [float(weight) for weight in made]


def _named(name: str, **settings: object) -> Aggregator:
    return Aggregator.named(name, settings_for(name, settings), ["a", "b", "c", "d"])


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_that_a_run_may_name_can_be_made_and_is_usable_as_it_comes(name: str) -> None:
    choice = STRATEGIES[name]
    assert check_run(choice.rounds, name, settings_for(name, {})) == []
    assert choice.label and choice.advice.endswith(".")
    assert set(choice.settings) <= LIMITS.keys()
    assert set(STRATEGY_DEFAULTS.get(name, {})) <= RunSettings().to_json().keys()
    made = _named(name).aggregate(
        1, np.zeros(NUM_WEIGHTS, np.float32), _same_for_all(np.ones(NUM_WEIGHTS)), learning_rate=0.1
    )
    assert np.isfinite(made).all() and made.any()


def test_a_strategy_that_nobody_knows_is_refused_by_name() -> None:
    assert MAKERS.keys() == STRATEGIES.keys()
    with pytest.raises(ValueError, match="no strategy 'fedmax'"):
        _named("fedmax")


def _same_for_all(array: np.ndarray) -> dict[str, SiteUpdate]:
    return {code: SiteUpdate(array.astype(np.float32), 10, 1) for code in "abcd"}


def test_fedavg_and_fedprox_average_by_rows() -> None:
    # (10 * 1 + 30 * 5) / 40 = 4 and (10 * 2 + 30 * 6) / 40 = 5
    sent = _updates((10, [1.0, 2.0]), (30, [5.0, 6.0]))
    assert _next(_named("fedavg"), [9.0, 9.0], sent) == [4.0, 5.0]
    assert _next(_named("fedprox"), [9.0, 9.0], sent) == [4.0, 5.0]


def test_fedsgd_makes_one_step_against_the_gradient_of_all_rows() -> None:
    # gradient (30 * 1 + 10 * 5) / 40 = 2 and (30 * 0 + 10 * 4) / 40 = 1; from 1 by half of that: 0 and 0.5
    sent = _updates((30, [1.0, 0.0]), (10, [5.0, 4.0]))
    assert _next(_named("fedsgd", server_learning_rate=0.5), [1.0, 1.0], sent) == [0.0, 0.5]


def test_fedavgm_goes_on_in_the_direction_of_the_rounds_before() -> None:
    aggregator = _named("fedavgm", server_learning_rate=1.0, server_momentum=0.5)
    # Round 1: the average moves by 2, momentum 2, to 0 + 2
    assert _next(aggregator, [0.0], _updates((1, [2.0]), (1, [2.0]))) == [2.0]
    # Round 2: the average moves by 1, momentum 0.5 * 2 + 1 = 2, to 2 + 2
    assert _next(aggregator, [2.0], _updates((1, [2.0]), (1, [4.0])), 2) == [4.0]


def test_fedadam_divides_by_the_root_of_the_mean_square() -> None:
    aggregator = _named("fedadam", server_learning_rate=0.1, beta_1=0.9, beta_2=0.99, tau=0.001)
    # delta 2, m = 0.1 * 2 = 0.2, v = 0.01 * 4 = 0.04, rate 0.1 * sqrt(1 - 0.99^2) / (1 - 0.9^2) = 0.0742459
    # (Flower counts the Rounds of the bias correction from 2): 0.0742459 * 0.2 / (0.2 + 0.001) = 0.0738765
    assert _next(aggregator, [0.0], _updates((1, [2.0]))) == pytest.approx([0.0738765], abs=1e-7)
    # Round 2, delta 1: m = 0.9 * 0.2 + 0.1 = 0.28, v = 0.99 * 0.04 + 0.01 = 0.0496, root 0.2227106,
    # rate 0.1 * sqrt(1 - 0.99^3) / (1 - 0.9^3) = 0.0635940: 0.0635940 * 0.28 / 0.2237106 = 0.0795954
    assert _next(aggregator, [0.0], _updates((1, [1.0])), 2) == pytest.approx([0.0795954], abs=1e-7)


def test_fedyogi_lets_the_mean_square_grow_by_a_fixed_share() -> None:
    aggregator = _named("fedyogi", server_learning_rate=0.1, beta_1=0.9, beta_2=0.99, tau=0.001)
    # delta 2, m = 0.2, v = 0 + 0.01 * 4 = 0.04: 0.1 * 0.2 / 0.201 = 0.0995025
    assert _next(aggregator, [0.0], _updates((1, [2.0]))) == pytest.approx([0.0995025], abs=1e-7)
    # delta 0.1: m = 0.9 * 0.2 + 0.1 * 0.1 = 0.19, v = 0.04 - 0.01 * 0.01 = 0.0399 as 0.04 > 0.01; root 0.1997498:
    # 0.1 * 0.19 / 0.2007498 = 0.0946452
    assert _next(aggregator, [0.0], _updates((1, [0.1])), 2) == pytest.approx([0.0946452], abs=1e-7)


def test_fedadagrad_makes_ever_shorter_steps() -> None:
    aggregator = _named("fedadagrad", server_learning_rate=0.1, tau=0.001)
    # delta 2, v = 4: 0.1 * 2 / 2.001 = 0.0999500
    assert _next(aggregator, [0.0], _updates((1, [2.0]))) == pytest.approx([0.0999500], abs=1e-7)
    # delta 2 again, v = 8: 0.1 * 2 / 2.8294271 = 0.0706857
    assert _next(aggregator, [0.0], _updates((1, [2.0])), 2) == pytest.approx([0.0706857], abs=1e-7)


def test_the_median_withstands_a_wrong_site_however_many_rows_it_claims() -> None:
    sent = _updates((10, [1.0, -3.0]), (20, [2.0, -1.0]), (10**9, [1e6, -1e6]))
    assert _next(_named("fedmedian"), [0.0, 0.0], sent) == [2.0, -3.0]


def test_the_trimmed_mean_of_four_sites_is_that_of_the_middle_two() -> None:
    # Flower alone would cut int(0.2 * 4) = 0 and answer (1 + 2 + 4 + 1000) / 4
    sent = _updates((1, [1.0]), (9, [4.0]), (5, [1000.0]), (2, [2.0]))
    assert _next(_named("trimmed_mean", trim_share=0.2), [0.0], sent) == [3.0]
    assert _next(_named("trimmed_mean", trim_share=0.0), [0.0], sent) == [251.75]


def test_the_trimmed_mean_cuts_each_weight_for_itself() -> None:
    # first weight: 1, 2, 3 left of 0, 1, 2, 3, 99; second: 2, 3, 4 left of -99, 2, 3, 4, 5
    sent = _updates((1, [0.0, 5.0]), (1, [99.0, 2.0]), (1, [1.0, -99.0]), (1, [2.0, 3.0]), (1, [3.0, 4.0]))
    assert _next(_named("trimmed_mean"), [0.0, 0.0], sent) == [2.0, 3.0]


@pytest.mark.parametrize(
    ("share", "sites", "cut"),
    [
        (0.2, 2, 0),
        (0.2, 3, 1),
        (0.2, 4, 1),
        (0.2, 5, 1),
        (0.2, 10, 2),
        (0.49, 3, 1),
        (0.49, 5, 2),
        (0.0, 9, 0),
    ],
)
def test_how_many_sites_are_cut(share: float, sites: int, cut: int) -> None:
    assert sites_cut(share, sites) == cut


def test_flower_cuts_as_many_as_asked_for() -> None:
    for sites, share in itertools.product(range(1, 300), (0.0, 0.01, 0.1, 0.2, 0.25, 0.49)):
        cut = sites_cut(share, sites)
        beta = beta_that_cuts(cut, sites)
        assert int(beta * sites) == cut and 0 <= beta < 0.5 and 2 * cut < sites


def test_krum_takes_the_site_nearest_to_the_others() -> None:
    # sums of the squared distances to the two nearest of the others: 0: 1 + 2.25, 1: 1 + 0.25, 1.5: 0.25 + 2.25
    sent = _updates((10, [0.0]), (10, [1.0]), (10, [1.5]), (10**6, [100.0]))
    assert _next(_named("krum"), [0.0], sent) == [1.0]


def test_krum_withstands_as_many_hostile_sites_as_it_was_told() -> None:
    # n = 7, f = 2, three nearest: of 0, 1, 2, 3, 4 the 2 has 1 + 1 + 4; 1 and 3 have 1 + 1 + 4 too, hence 0.4 here:
    # 0: 1 + 4 + 9, 1: 1 + 1 + 4 = 6, 2.4 from 3, 2, 4: 0.16 + 0.36 + 2.56; the hostile two are near each other only
    sent = _updates(*((10, [value]) for value in (0.0, 1.0, 2.0, 2.4, 3.0, 50.0, 50.0)))
    # 2: 0.16 + 1 + 1 = 2.16 · 2.4: 0.16 + 0.36 + 1.96 = 2.48 · 3: 0.36 + 1 + 4 = 5.36 · 50: 0 + 47^2 + 47.6^2
    assert _next(_named("krum", malicious_sites=2), [0.0], sent) == [2.0]


def test_krum_tells_updates_apart_that_differ_in_the_fifth_decimal() -> None:
    generator = np.random.default_rng(4)
    around = generator.normal(size=NUM_WEIGHTS)
    arrays = [
        (around + spread * generator.normal(size=NUM_WEIGHTS)).astype(np.float32)
        for spread in (3e-5, 1e-5, 2e-5, 4e-5)
    ]
    between = [
        sorted(float(np.square(one.astype(np.float64) - other).sum()) for other in arrays) for one in arrays
    ]
    nearest = min(range(4), key=lambda site: sum(between[site][1:3]))
    sent = {code: SiteUpdate(array, 10, 1) for code, array in zip("abcd", arrays, strict=True)}
    made = _named("krum").aggregate(1, arrays[0], sent, learning_rate=0.1)
    np.testing.assert_array_equal(made, arrays[nearest])


def _whole(value: float) -> Weights:
    return np.full(NUM_WEIGHTS, value, dtype=np.float32)


def test_scaffold_knows_each_sites_control_variate_from_what_it_sent() -> None:
    aggregator = Aggregator.named("scaffold", settings_for("scaffold", {}), ["a", "b", "c"])
    for code in "ab":
        assert not aggregator.site_fields(code)["correction"].any()
    sent = {"a": SiteUpdate(_whole(1.0), 10, steps=10), "b": SiteUpdate(_whole(-3.0), 30, steps=30)}
    # (10 * 1 - 30 * 3) / 40 = -2
    assert aggregator.aggregate(1, _whole(0.0), sent, learning_rate=0.1)[0] == -2.0
    # c_a = (0 - 1) / (10 * 0.1) = -1, c_b = (0 + 3) / (30 * 0.1) = 1; c = 2 / 3 * (10 * -1 + 30 * 1) / 40 = 1 / 3, as
    # the third institution has not answered yet
    corrections = {code: float(aggregator.site_fields(code)["correction"][0]) for code in "abc"}
    assert corrections == pytest.approx({"a": 1 / 3 + 1, "b": 1 / 3 - 1, "c": 1 / 3})
    # a now goes from -2 to -3 in 10 corrected steps: c_a+ = c_a - c + (x - y) / (K eta) = -1 - 1/3 + 1 = -1/3
    aggregator.aggregate(2, _whole(-2.0), {"a": SiteUpdate(_whole(-3.0), 10, steps=10)}, learning_rate=0.1)
    # c = 2 / 3 * (10 * -1/3 + 30 * 1) / 40 = 4 / 9
    assert float(aggregator.site_fields("c")["correction"][0]) == pytest.approx(4 / 9)
    assert float(aggregator.site_fields("a")["correction"][0]) == pytest.approx(4 / 9 + 1 / 3)


def test_a_site_that_was_told_no_correction_took_uncorrected_steps() -> None:
    aggregator = Aggregator.named("scaffold", settings_for("scaffold", {}), ["a", "b"])
    aggregator.aggregate(1, _whole(0.0), {"a": SiteUpdate(_whole(1.0), 10, 10)}, learning_rate=0.1)
    aggregator.aggregate(2, _whole(0.0), {"b": SiteUpdate(_whole(-3.0), 10, 30)}, learning_rate=0.1)
    # c_a = -1 and c_b = (0 + 3) / (30 * 0.1) = 1, though c was -1/2 meanwhile: c = 0
    assert float(aggregator.site_fields("b")["correction"][0]) == pytest.approx(-1.0)


def _paper(
    curvature: np.ndarray,
    lowest: np.ndarray,
    steps: list[int],
    chosen: list[list[int]],
    *,
    rate: float,
    server_rate: float,
) -> list[np.ndarray]:
    """Algorithm 1 of arXiv:1910.06378 with option II, on f_i(x) = curvature_i / 2 (x - lowest_i)^2."""
    clients = len(steps)
    x, c, c_i = np.zeros(lowest.shape[1]), np.zeros(lowest.shape[1]), np.zeros_like(lowest)
    trace = []
    for taking_part in chosen:
        delta_x, delta_c = [], []
        for i in taking_part:
            y = x.copy()
            for _ in range(steps[i]):
                y = y - rate * (curvature[i] * (y - lowest[i]) - c_i[i] + c)
            c_plus = c_i[i] - c + (x - y) / (steps[i] * rate)
            delta_x.append(y - x)
            delta_c.append(c_plus - c_i[i])
            c_i[i] = c_plus
        x = x + server_rate * np.mean(delta_x, axis=0)
        c = c + len(taking_part) / clients * np.mean(delta_c, axis=0)
        trace.append(x)
    return trace


def test_scaffold_is_the_papers_algorithm_where_sites_are_of_equal_size() -> None:
    """Three Rounds and more, with Sites that sit out: the sampled clients of the paper."""
    generator = np.random.default_rng(8)
    curvature = np.array([[0.5], [1.0], [2.0]])
    lowest = generator.normal(size=(3, NUM_WEIGHTS))
    steps, chosen = [3, 5, 4], [[0, 1, 2], [0, 2], [1], [0, 1, 2], [1, 2]]
    expected = _paper(curvature, lowest, steps, chosen, rate=0.1, server_rate=0.8)

    aggregator = Aggregator.named(
        "scaffold", settings_for("scaffold", {"server_learning_rate": 0.8}), ["a", "b", "c"]
    )
    x = np.zeros(NUM_WEIGHTS, dtype=np.float32)
    for number, (taking_part, by_paper) in enumerate(zip(chosen, expected, strict=True), start=1):
        sent = {}
        for i in taking_part:
            correction = aggregator.site_fields("abc"[i])["correction"]
            y = x.astype(np.float64)
            for _ in range(steps[i]):
                y -= 0.1 * (curvature[i] * (y - lowest[i]) + correction)
            sent["abc"[i]] = SiteUpdate(y.astype(np.float32), 50, steps[i])
        x = aggregator.aggregate(number, x, sent, learning_rate=0.1)
        np.testing.assert_allclose(x, by_paper, atol=2e-5)


def test_scaffold_finds_the_minimum_over_patients_where_fedavg_drifts() -> None:
    """Two Sites of 10 and 90 rows whose losses (x - 1)^2 / 2 and 4 (x + 1)^2 / 2 pull apart."""
    # the slope 0.1 (x - 1) + 0.9 * 4 (x + 1) is 0 at x = -3.5 / 3.7
    slopes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "a": lambda y: y - 1,
        "b": lambda y: 4 * (y + 1),
    }
    ended = {}
    for name in ("fedavg", "scaffold"):
        aggregator, x = Aggregator.named(name, settings_for(name, {}), ["a", "b"]), _whole(0.0)
        for number in range(1, 60):
            sent = {}
            for code, rows in (("a", 10), ("b", 90)):
                correction = aggregator.site_fields(code).get("correction", 0.0)
                y = x.astype(np.float64)
                for _ in range(10):
                    y -= 0.1 * (slopes[code](y) + correction)
                sent[code] = SiteUpdate(y.astype(np.float32), rows, 10)
            x = aggregator.aggregate(number, x, sent, learning_rate=0.1)
        ended[name] = float(x[0])
    assert ended["scaffold"] == pytest.approx(-3.5 / 3.7, abs=1e-4)
    assert abs(ended["fedavg"] + 3.5 / 3.7) > 0.01


def _round(aggregator: Aggregator, number: int, received: Weights) -> Weights:
    """One Round of Sites whose answers depend on everything that they are told."""
    sent = {}
    for code, rows in (("a", 10), ("b", 40), ("c", 25)):
        noise = np.random.default_rng([number, rows]).normal(scale=0.1, size=NUM_WEIGHTS)
        told = aggregator.site_fields(code).get("correction", np.float32(0.0))
        sent[code] = SiteUpdate((received - 0.1 * told + noise).astype(np.float32), rows, steps=rows)
    return aggregator.aggregate(number, received, sent, learning_rate=0.05)


@pytest.mark.parametrize("name", REMEMBERING)
def test_a_strategy_goes_on_from_its_stored_state_to_the_bit(name: str) -> None:
    first, weights = _named(name), _whole(0.0)
    for number in (1, 2):
        weights = _round(first, number, weights)
    state = first.state()
    assert state is not None and state == first.state()  # the same bytes for the same state
    later = _named(name)
    later.restore(state)
    assert later.state() == state
    forgetful = _named(name)
    expected = _round(first, 3, weights)
    np.testing.assert_array_equal(_round(later, 3, weights), expected)
    assert later.state() == first.state()
    np.testing.assert_array_equal(_round(later, 4, expected), _round(first, 4, expected))
    if name == "scaffold":  # whose aggregation alone remembers nothing: what it tells the Sites does
        assert forgetful.site_fields("a")["correction"].any() != later.site_fields("a")["correction"].any()
    assert not np.array_equal(_round(forgetful, 3, weights), expected)


@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - set(REMEMBERING)))
def test_the_other_strategies_have_nothing_to_store(name: str) -> None:
    aggregator = _named(name)
    _round(aggregator, 1, _whole(0.0))
    assert aggregator.state() is None
    aggregator.restore(None)


@pytest.mark.parametrize("state", [b"", b"no archive", b"PK\x03\x04 cut"])
def test_bytes_that_are_no_state_are_refused(state: bytes) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        _named("fedadam").restore(state)


def test_the_state_of_another_strategy_is_refused() -> None:
    other = _named("fedavgm")
    _round(other, 1, _whole(0.0))
    with pytest.raises(ValueError, match="of another strategy: 'first_moment' is missing"):
        _named("fedadam").restore(other.state())


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_order_in_which_answers_arrive_changes_nothing(name: str) -> None:
    generator = np.random.default_rng(1)
    sent = {
        code: SiteUpdate(generator.normal(size=NUM_WEIGHTS).astype(np.float32), 7 + number, 3)
        for number, code in enumerate("abcd")
    }
    made = [
        _named(name).aggregate(1, _whole(0.0), {code: sent[code] for code in order}, learning_rate=0.1)
        for order in ("abcd", "dbca")
    ]
    np.testing.assert_array_equal(made[0], made[1])
