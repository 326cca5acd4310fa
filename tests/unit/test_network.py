"""The network in NumPy and in Keras, and local training."""

from __future__ import annotations

import numpy as np
import pytest

from db.cohort import generate
from fl.features import FEATURE_NAMES, INPUT_NAMES, encode
from fl.model import (
    NUM_WEIGHTS,
    CostModel,
    flatten,
    forward,
    initial_weights,
    unflatten,
    weights_from_bytes,
    weights_sha256,
    weights_to_bytes,
)
from fl.settings import RunSettings
from fl.statistics import moments_of, pooled_preprocessing

COHORT = generate(200, seed=5, region="southeast")
COLUMNS = {name: vars(COHORT)[name] for name in FEATURE_NAMES}
INPUTS, COST = encode(COLUMNS), COHORT.insurance_cost
PREPROCESSING = pooled_preprocessing([moments_of(INPUTS, COST)])


def _trained(seed: int = 1, **settings: object) -> np.ndarray:
    from fl.training import train

    return train(
        initial_weights(3),
        PREPROCESSING.scale_inputs(INPUTS),
        PREPROCESSING.scale_target(COST),
        settings=RunSettings(**settings),  # type: ignore[arg-type]
        seed=seed,
    ).weights


def test_numpy_and_keras_give_the_same_costs() -> None:
    from fl.training import build_network

    weights = _trained()
    network = build_network()
    network.set_weights(unflatten(weights))
    scaled = PREPROCESSING.scale_inputs(INPUTS)
    by_keras = network.predict(scaled, verbose=0)[:, 0]
    np.testing.assert_allclose(forward(unflatten(weights), scaled), by_keras, atol=1e-5)


def test_the_network_is_the_one_of_the_brief() -> None:
    from fl.training import build_network

    shapes = [tuple(weight.shape) for weight in build_network().get_weights()]
    assert shapes == [(13, 128), (128,), (128, 64), (64,), (64, 32), (32,), (32, 1), (1,)]
    assert sum(int(np.prod(shape)) for shape in shapes) == NUM_WEIGHTS


def test_training_repeats_bit_by_bit_and_depends_on_the_seed() -> None:
    assert weights_sha256(_trained(seed=1)) == weights_sha256(_trained(seed=1))
    assert weights_sha256(_trained(seed=1)) != weights_sha256(_trained(seed=2))


def test_training_starts_from_a_fresh_optimizer_each_time() -> None:
    first = _trained(local_epochs=2)
    _trained(local_epochs=7)  # leaves momenta behind in the shared optimizer
    np.testing.assert_array_equal(_trained(local_epochs=2), first)


def test_adamw_without_decay_is_adam_and_with_decay_is_not() -> None:
    adam = _trained(optimizer="adam")
    np.testing.assert_array_equal(_trained(optimizer="adamw", weight_decay=0.0), adam)
    assert np.linalg.norm(_trained(optimizer="adamw", weight_decay=2.0)) < np.linalg.norm(adam)


def test_one_step_of_sgd_is_minus_learning_rate_times_gradient() -> None:
    import tensorflow as tf

    from fl.training import build_network

    weights, rate = initial_weights(3), 0.01
    network = build_network()
    network.set_weights(unflatten(weights))
    inputs, target = PREPROCESSING.scale_inputs(INPUTS), PREPROCESSING.scale_target(COST)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(network(inputs)[:, 0] - target))
    gradient = flatten([part.numpy() for part in tape.gradient(loss, network.trainable_variables)])
    stepped = _trained(optimizer="sgd", local_epochs=1, batch_size=len(COST), learning_rate=rate)
    np.testing.assert_allclose(stepped, weights - rate * gradient, atol=1e-5)


def test_weights_survive_storage_to_the_bit() -> None:
    weights = initial_weights(11)
    stored = weights_to_bytes(weights)
    assert len(stored) == 4 * NUM_WEIGHTS
    np.testing.assert_array_equal(weights_from_bytes(stored), weights)
    np.testing.assert_array_equal(flatten(unflatten(weights)), weights)


def test_a_model_of_other_inputs_or_sizes_is_refused() -> None:
    with pytest.raises(ValueError, match="weights"):
        CostModel(PREPROCESSING, initial_weights(0)[:-1])
    other = type(PREPROCESSING).from_json({**PREPROCESSING.to_json(), "input_names": ["age"]})
    with pytest.raises(ValueError, match="input columns"):
        CostModel(other, initial_weights(0))


def test_no_cost_below_zero_is_ever_answered() -> None:
    pessimist = unflatten(initial_weights(0))
    pessimist[-1][:] = -1000.0
    predicted = CostModel(PREPROCESSING, flatten(pessimist)).predict(COLUMNS)
    assert (predicted == 0.0).all()


def test_the_two_derived_inputs_follow_from_bmi_and_smoking() -> None:
    obese, obese_smoker = INPUT_NAMES.index("obese"), INPUT_NAMES.index("obese_smoker")
    rows = {name: [COLUMNS[name][0]] * 3 for name in FEATURE_NAMES}
    rows["bmi"], rows["smoker"] = [30.0, 30.01, 45.0], ["yes", "yes", "no"]
    encoded = encode(rows)
    assert encoded[:, obese].tolist() == [0.0, 1.0, 1.0]
    assert encoded[:, obese_smoker].tolist() == [0.0, 1.0, 0.0]
