"""Local training in Keras: all epochs in one compiled graph; imported only by the processes that train."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # oneDNN's sums depend on the machine; ours must repeat

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fl.features import INPUT_NAMES
from fl.model import HIDDEN_UNITS, Weights, flatten, unflatten
from fl.settings import RunSettings


@dataclass(frozen=True)
class Trained:
    """What local training made.

    Attributes
    ----------
    weights
        After training or, of FedSGD, the gradient; shape (NUM_WEIGHTS,).
    loss
        Mean squared error of the standardised cost over the last epoch, as it was met batch by batch.
    steps
        Optimizer steps made; 0 says that `weights` is a gradient.
    """

    weights: Weights
    loss: float
    steps: int


class Variant(StrEnum):
    """What is added to the gradient of every local step.

    PLAIN
        Nothing.
    PROXIMAL
        mu (w - w_received), the gradient of FedProx' mu/2 ||w - w_received||^2 (Li et al. 2020, arXiv:1812.06127).
    CORRECTED
        SCAFFOLD's c - c_i, shape (NUM_WEIGHTS,), the same in every step (Karimireddy et al. 2020, arXiv:1910.06378).
    """

    PLAIN = "plain"
    PROXIMAL = "proximal"
    CORRECTED = "corrected"


NOTHING = np.zeros(0, dtype=np.float32)  # what a PLAIN step is given besides the rows
ROWS_AT_ONCE = 8192  # of a gradient over all rows: bounds the memory of a large Site


def build_network() -> Any:
    """Return the Keras network 13-128-64-32-1 with ReLU and one linear output."""
    return keras.Sequential(
        [
            keras.Input((len(INPUT_NAMES),)),
            *(keras.layers.Dense(units, activation="relu") for units in HIDDEN_UNITS),
            keras.layers.Dense(1),
        ]
    )


def _optimizer(name: str, weight_decay: float) -> Any:
    if name == "sgd":
        return keras.optimizers.SGD()
    if name == "adamw" and weight_decay > 0:
        return keras.optimizers.AdamW(weight_decay=weight_decay)
    return keras.optimizers.Adam()


def _squared_error(network: Any, inputs: Any, target: Any) -> Any:
    return tf.reduce_mean(tf.square(network(inputs, training=True)[:, 0] - target))


class Trainer:
    """One compiled training loop; every call starts from given weights and a fresh optimizer.

    The terms of a `Variant` are compiled in only where they are used.
    """

    def __init__(self, optimizer: str, weight_decay: float, variant: Variant = Variant.PLAIN) -> None:
        self._variant = variant
        self._network = build_network()
        self._optimizer = _optimizer(optimizer, weight_decay)
        self._optimizer.build(self._network.trainable_variables)
        self._fit = tf.function(
            self._fit_graph,
            input_signature=[
                tf.TensorSpec([None, len(INPUT_NAMES)], tf.float32),
                tf.TensorSpec([None], tf.float32),
                tf.TensorSpec([None, None], tf.int32),
                tf.TensorSpec([], tf.int32),
                tf.TensorSpec([None], tf.float32),
            ],
        )

    def _fit_graph(self, inputs: Any, target: Any, order: Any, batch_size: Any, term: Any) -> Any:
        variables = self._network.trainable_variables
        added = self._added_to_gradient(variables, term)
        rows = tf.shape(target)[0]
        last_epoch_loss = tf.constant(0.0)
        for epoch in tf.range(tf.shape(order)[0]):
            last_epoch_loss = tf.constant(0.0)
            for start in tf.range(0, rows, batch_size):
                batch = order[epoch, start : start + batch_size]
                with tf.GradientTape() as tape:
                    loss = _squared_error(self._network, tf.gather(inputs, batch), tf.gather(target, batch))
                self._optimizer.apply(added(tape.gradient(loss, variables)), variables)
                last_epoch_loss += loss * tf.cast(tf.shape(batch)[0], tf.float32)
        return last_epoch_loss / tf.cast(rows, tf.float32)

    def _added_to_gradient(self, variables: list[Any], term: Any) -> Callable[[list[Any]], list[Any]]:
        """Return what turns the gradient of a batch into that of a step; called once, while the graph is made."""
        if self._variant is Variant.PROXIMAL:
            received = [tf.identity(variable) for variable in variables]
            return lambda gradient: [
                part + term[0] * (variable - start)
                for part, variable, start in zip(gradient, variables, received, strict=True)
            ]
        if self._variant is Variant.CORRECTED:
            sizes = [int(np.prod(variable.shape)) for variable in variables]
            correction = [
                tf.reshape(part, variable.shape)
                for part, variable in zip(tf.split(term, sizes), variables, strict=True)
            ]
            return lambda gradient: [part + own for part, own in zip(gradient, correction, strict=True)]
        return lambda gradient: gradient

    def train(
        self,
        weights: Weights,
        inputs: NDArray[np.float32],
        target: NDArray[np.float32],
        *,
        epochs: int,
        batch_size: int,
        learning_rate: float,
        seed: int,
        term: NDArray[np.float32] = NOTHING,
    ) -> Trained:
        """Train from `weights` on scaled inputs, shape (n, 13), and costs, shape (n,); n at least 1.

        `term` holds what the variant adds: nothing, mu alone in an array of shape (1,), or the correction.
        """
        for variable, value in zip(self._network.trainable_variables, unflatten(weights), strict=True):
            variable.assign(value)
        for variable in self._optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        self._optimizer.learning_rate.assign(learning_rate)
        generator = np.random.default_rng(seed)
        order = np.stack([generator.permutation(len(target)) for _ in range(epochs)]).astype(np.int32)
        loss = self._fit(
            tf.constant(inputs), tf.constant(target), tf.constant(order), batch_size, tf.constant(term)
        )
        return Trained(
            flatten([variable.numpy() for variable in self._network.trainable_variables]),
            float(loss),
            steps=epochs * math.ceil(len(target) / batch_size),
        )


class FullGradient:
    """The gradient of the mean squared error over all rows of a Site, compiled once."""

    def __init__(self) -> None:
        self._network = build_network()
        self._gradient = tf.function(
            self._gradient_graph,
            input_signature=[
                tf.TensorSpec([None, len(INPUT_NAMES)], tf.float32),
                tf.TensorSpec([None], tf.float32),
            ],
        )

    def _gradient_graph(self, inputs: Any, target: Any) -> Any:
        variables = self._network.trainable_variables
        rows = tf.shape(target)[0]
        loss = tf.constant(0.0)
        total = [tf.zeros_like(variable) for variable in variables]
        for start in tf.range(0, rows, ROWS_AT_ONCE):
            expected = target[start : start + ROWS_AT_ONCE]
            with tf.GradientTape() as tape:
                error = _squared_error(self._network, inputs[start : start + ROWS_AT_ONCE], expected)
            share = tf.cast(tf.shape(expected)[0], tf.float32) / tf.cast(rows, tf.float32)
            loss += share * error
            total = [
                so_far + share * part
                for so_far, part in zip(total, tape.gradient(error, variables), strict=True)
            ]
        return loss, total

    def at(self, weights: Weights, inputs: NDArray[np.float32], target: NDArray[np.float32]) -> Trained:
        """Return the gradient at `weights`, shape (NUM_WEIGHTS,), in the place of trained weights."""
        for variable, value in zip(self._network.trainable_variables, unflatten(weights), strict=True):
            variable.assign(value)
        loss, parts = self._gradient(tf.constant(inputs), tf.constant(target))
        return Trained(flatten([part.numpy() for part in parts]), float(loss), steps=0)


@lru_cache(maxsize=4)
def trainer_for(optimizer: str, weight_decay: float, variant: Variant = Variant.PLAIN) -> Trainer:
    """Return this process's compiled trainer; compiling takes about half a second, a call a hundredth."""
    return Trainer(optimizer, weight_decay, variant)


@lru_cache(maxsize=1)
def full_gradient() -> FullGradient:
    """Return this process's compiled gradient."""
    return FullGradient()


def train(
    weights: Weights,
    inputs: NDArray[np.float32],
    target: NDArray[np.float32],
    *,
    settings: RunSettings,
    seed: int,
    strategy: str = "fedavg",
    correction: Weights | None = None,
) -> Trained:
    """Train as a Run's settings say; see `Trainer.train`. The same arguments give the same weights.

    Parameters
    ----------
    strategy
        FedProx adds its proximal term, and FedSGD answers with the gradient of all rows instead of weights.
    correction
        SCAFFOLD's c - c_i, shape (NUM_WEIGHTS,), added to the gradient of every step.

    Raises
    ------
    ValueError
        If a correction is of another shape.
    """
    if strategy == "fedsgd":
        return full_gradient().at(weights, inputs, target)
    variant, term = Variant.PLAIN, NOTHING
    if strategy == "fedprox" and settings.proximal_mu > 0:
        variant, term = Variant.PROXIMAL, np.array([settings.proximal_mu], dtype=np.float32)
    elif correction is not None:
        if correction.shape != weights.shape:
            raise ValueError(f"expected {weights.size} corrections, got an array of shape {correction.shape}")
        variant, term = Variant.CORRECTED, correction
    return trainer_for(settings.optimizer, settings.weight_decay, variant).train(
        weights,
        inputs,
        target,
        epochs=settings.local_epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=seed,
        term=term,
    )


def use_one_thread() -> None:
    """Give each SuperNode one TensorFlow thread: sums repeat bit by bit, and Sites share few cores."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def warm_up() -> None:
    """Compile the trainer of the default settings, so that the first Round need not."""
    from fl.model import initial_weights

    rows = np.zeros((2, len(INPUT_NAMES)), dtype=np.float32)
    train(
        initial_weights(0), rows, np.zeros(2, dtype=np.float32), settings=RunSettings(local_epochs=1), seed=0
    )
