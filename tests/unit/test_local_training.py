"""Local training of each strategy against the same steps in NumPy, with gradients by hand."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

from db.cohort import generate
from fl.features import FEATURE_NAMES, encode
from fl.model import NUM_WEIGHTS, flatten, forward, initial_weights, unflatten
from fl.settings import RunSettings
from fl.statistics import moments_of, pooled_preprocessing
from fl.strategies import Aggregator, SiteUpdate

COHORT = generate(150, seed=9)
INPUTS, COST = encode({name: vars(COHORT)[name] for name in FEATURE_NAMES}), COHORT.insurance_cost
PREPROCESSING = pooled_preprocessing([moments_of(INPUTS, COST)])
SCALED, TARGET = PREPROCESSING.scale_inputs(INPUTS), PREPROCESSING.scale_target(COST)
START = initial_weights(3)
RATE = 0.05
# One batch of all rows, so that the order of the rows does not matter.
WHOLE = RunSettings(local_epochs=3, batch_size=4096, learning_rate=RATE, optimizer="sgd")

Doubles = NDArray[np.float64]


def _gradient(weights: Doubles, inputs: NDArray[np.float32], target: NDArray[np.float32]) -> Doubles:
    """Backpropagation of the mean squared error through 13-128-64-32-1 with ReLU, in float64."""
    layers = unflatten(weights)  # type: ignore[arg-type]
    kernels, biases = layers[0::2], layers[1::2]
    activations = [inputs.astype(np.float64)]
    for kernel, bias in zip(kernels[:-1], biases[:-1], strict=True):
        activations.append(np.maximum(activations[-1] @ kernel + bias, 0.0))
    predicted = activations[-1] @ kernels[-1] + biases[-1]
    slope = 2.0 * (predicted - target[:, None]) / len(target)
    parts: list[Doubles] = []
    for number in reversed(range(len(kernels))):
        parts = [(activations[number].T @ slope).ravel(), slope.sum(axis=0), *parts]
        slope = (slope @ kernels[number].T) * (activations[number] > 0)
    return np.concatenate(parts)


def _steps(start: np.ndarray, count: int, added: object = 0.0, mu: float = 0.0) -> Doubles:
    weights = received = start.astype(np.float64)
    for _ in range(count):
        step = _gradient(weights, SCALED, TARGET) + added + mu * (weights - received)
        weights = weights - RATE * step
    return weights


def _trained(settings: RunSettings = WHOLE, **given: object) -> np.ndarray:
    from fl.training import train

    return train(START, SCALED, TARGET, settings=settings, seed=1, **given).weights  # type: ignore[arg-type]


def test_the_gradient_by_hand_is_the_slope_of_the_error() -> None:
    """The reference of this file, against differences of the error along three directions."""
    weights = START.astype(np.float64)
    generator = np.random.default_rng(0)

    def error(at: Doubles) -> float:
        return float(np.square(forward(unflatten(at), SCALED.astype(np.float64)) - TARGET).mean())  # type: ignore[arg-type]

    for _ in range(3):
        direction = generator.normal(size=NUM_WEIGHTS)
        slope = (error(weights + 1e-6 * direction) - error(weights - 1e-6 * direction)) / 2e-6
        assert _gradient(weights, SCALED, TARGET) @ direction == pytest.approx(slope, rel=1e-4)


def test_steps_without_a_strategy_are_those_of_sgd() -> None:
    np.testing.assert_allclose(_trained(), _steps(START, 3), atol=2e-6)


def test_fedprox_pulls_every_step_towards_the_received_weights() -> None:
    mu = 5.0
    settings = RunSettings(**{**WHOLE.to_json(), "proximal_mu": mu})
    pulled = _trained(settings, strategy="fedprox")
    np.testing.assert_allclose(pulled, _steps(START, 3, mu=mu), atol=2e-6)
    free = _trained()
    assert np.linalg.norm(pulled - START) < 0.95 * np.linalg.norm(free - START)
    np.testing.assert_array_equal(_trained(settings, strategy="fedavg"), free)  # mu is FedProx' alone


def test_fedprox_with_mu_0_is_fedavg_to_the_bit() -> None:
    settings = RunSettings(local_epochs=2, proximal_mu=0.0)
    np.testing.assert_array_equal(_trained(settings, strategy="fedprox"), _trained(settings))


def test_scaffold_adds_its_correction_to_every_step() -> None:
    correction = np.random.default_rng(2).normal(scale=0.1, size=NUM_WEIGHTS).astype(np.float32)
    corrected = _trained(strategy="scaffold", correction=correction)
    np.testing.assert_allclose(corrected, _steps(START, 3, added=correction), atol=2e-6)
    assert np.abs(corrected - _trained()).max() > 0.01
    nothing = np.zeros(NUM_WEIGHTS, dtype=np.float32)
    np.testing.assert_array_equal(_trained(strategy="scaffold", correction=nothing), _trained())


def test_a_correction_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 12161 corrections"):
        _trained(strategy="scaffold", correction=np.zeros(3, dtype=np.float32))


def test_the_gradient_of_fedsgd_is_that_of_all_rows_in_one_place() -> None:
    """Three Sites of 20, 50 and 80 rows: their averaged gradient, and the server's step, against central descent."""
    from fl.training import train

    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, SUPERLINK_NODE_ID, 1
    settings = RunSettings(server_learning_rate=RATE)
    sent = {}
    for code, rows in (("a", slice(0, 20)), ("b", slice(20, 70)), ("c", slice(70, 150))):
        answered = train(START, SCALED[rows], TARGET[rows], settings=settings, seed=1, strategy="fedsgd")
        assert answered.steps == 0
        np.testing.assert_allclose(
            answered.weights, _gradient(START.astype(np.float64), SCALED[rows], TARGET[rows]), atol=2e-6
        )
        sent[code] = SiteUpdate(answered.weights, len(TARGET[rows]), answered.steps)
    made = Aggregator.named("fedsgd", settings).aggregate(1, START, sent, learning_rate=1.0)
    np.testing.assert_allclose(made, _steps(START, 1), atol=2e-6)


def test_a_gradient_of_many_rows_is_summed_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    from fl import training

    whole = training.FullGradient().at(START, SCALED, TARGET)
    monkeypatch.setattr(training, "ROWS_AT_ONCE", 64)  # 150 rows are then 64, 64 and 22
    pieces = training.FullGradient().at(START, SCALED, TARGET)
    np.testing.assert_allclose(pieces.weights, whole.weights, atol=1e-6)
    predicted = forward(unflatten(START), SCALED)
    assert pieces.loss == pytest.approx(float(np.square(predicted - TARGET).mean()), rel=1e-5)


def test_a_training_counts_its_steps() -> None:
    from fl.training import train

    settings = RunSettings(local_epochs=3, batch_size=32)
    assert (
        train(START, SCALED, TARGET, settings=settings, seed=1).steps == 3 * 5
    )  # 150 rows: 4 batches and a rest


def test_three_rounds_of_scaffold_are_the_papers_algorithm_on_the_network() -> None:
    """Algorithm 1 of arXiv:1910.06378, option II, gradients by hand, on two Sites of equal size that differ."""
    from fl.training import train

    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, SUPERLINK_NODE_ID, 1
    by_cost = np.argsort(TARGET)
    rows = {"a": by_cost[:75], "b": by_cost[75:]}
    aggregator = Aggregator.named("scaffold", WHOLE, ["a", "b"])
    received = START
    x, c = START.astype(np.float64), np.zeros(NUM_WEIGHTS)
    c_i = {code: np.zeros(NUM_WEIGHTS) for code in rows}
    for number in (1, 2, 3):
        sent, y, c_plus = {}, {}, {}
        for code, mine in rows.items():
            trained = train(
                received,
                SCALED[mine],
                TARGET[mine],
                settings=WHOLE,
                seed=number,
                strategy="scaffold",
                correction=aggregator.site_fields(code)["correction"],
            )
            sent[code] = SiteUpdate(trained.weights, len(mine), trained.steps)
            y[code] = x
            for _ in range(3):
                y[code] = y[code] - RATE * (_gradient(y[code], SCALED[mine], TARGET[mine]) - c_i[code] + c)
            c_plus[code] = c_i[code] - c + (x - y[code]) / (3 * RATE)
        received = aggregator.aggregate(number, received, sent, learning_rate=RATE)
        x = x + (y["a"] - x + y["b"] - x) / 2
        c = c + (c_plus["a"] - c_i["a"] + c_plus["b"] - c_i["b"]) / 2
        c_i = c_plus
        np.testing.assert_allclose(received, x, atol=2e-5)
    assert np.abs(flatten(unflatten(received)) - START).max() > 0.01
