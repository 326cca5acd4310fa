"""Local training in Keras: all epochs in one compiled graph; imported only by the processes that train."""

from __future__ import annotations

import os
from dataclasses import dataclass
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
        Shape (NUM_WEIGHTS,).
    loss
        Mean squared error of the standardised cost over the last epoch, as it was met batch by batch.
    """

    weights: Weights
    loss: float


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


class Trainer:
    """One compiled training loop; every call starts from given weights and a fresh optimizer."""

    def __init__(self, optimizer: str, weight_decay: float) -> None:
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
            ],
        )

    def _fit_graph(self, inputs: Any, target: Any, order: Any, batch_size: Any) -> Any:
        variables = self._network.trainable_variables
        rows = tf.shape(target)[0]
        last_epoch_loss = tf.constant(0.0)
        for epoch in tf.range(tf.shape(order)[0]):
            last_epoch_loss = tf.constant(0.0)
            for start in tf.range(0, rows, batch_size):
                batch = order[epoch, start : start + batch_size]
                expected = tf.gather(target, batch)
                with tf.GradientTape() as tape:
                    predicted = self._network(tf.gather(inputs, batch), training=True)[:, 0]
                    loss = tf.reduce_mean(tf.square(predicted - expected))
                self._optimizer.apply(tape.gradient(loss, variables), variables)
                last_epoch_loss += loss * tf.cast(tf.shape(batch)[0], tf.float32)
        return last_epoch_loss / tf.cast(rows, tf.float32)

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
    ) -> Trained:
        """Train from `weights` on scaled inputs, shape (n, 13), and costs, shape (n,); n at least 1."""
        for variable, value in zip(self._network.trainable_variables, unflatten(weights), strict=True):
            variable.assign(value)
        for variable in self._optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        self._optimizer.learning_rate.assign(learning_rate)
        generator = np.random.default_rng(seed)
        order = np.stack([generator.permutation(len(target)) for _ in range(epochs)]).astype(np.int32)
        loss = self._fit(tf.constant(inputs), tf.constant(target), tf.constant(order), batch_size)
        return Trained(
            flatten([variable.numpy() for variable in self._network.trainable_variables]), float(loss)
        )


@lru_cache(maxsize=4)
def trainer_for(optimizer: str, weight_decay: float) -> Trainer:
    """Return this process's compiled trainer; compiling takes about half a second, a call a hundredth."""
    return Trainer(optimizer, weight_decay)


def train(
    weights: Weights,
    inputs: NDArray[np.float32],
    target: NDArray[np.float32],
    *,
    settings: RunSettings,
    seed: int,
) -> Trained:
    """Train as a Run's settings say; see `Trainer.train`. The same arguments give the same weights."""
    return trainer_for(settings.optimizer, settings.weight_decay).train(
        weights,
        inputs,
        target,
        epochs=settings.local_epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=seed,
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
