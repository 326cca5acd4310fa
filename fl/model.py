"""The network 13-128-64-32-1: its shapes, its one flat weight array, and its forward pass in NumPy."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.features import INPUT_NAMES, Preprocessing, encode

HIDDEN_UNITS = (128, 64, 32)  # ReLU
LAYER_SIZES = (len(INPUT_NAMES), *HIDDEN_UNITS, 1)
# Kernel and bias of each layer in turn, as Keras' `get_weights` gives them.
WEIGHT_SHAPES: tuple[tuple[int, ...], ...] = tuple(
    shape for fan_in, fan_out in itertools.pairwise(LAYER_SIZES) for shape in ((fan_in, fan_out), (fan_out,))
)
NUM_WEIGHTS = sum(int(np.prod(shape)) for shape in WEIGHT_SHAPES)

Weights = NDArray[np.float32]  # all weights in one flat array, shape (NUM_WEIGHTS,)


def initial_weights(seed: int) -> Weights:
    """Return Glorot-uniform kernels and zero biases (Glorot and Bengio 2010), the same for the same seed."""
    generator = np.random.default_rng(seed)
    parts: list[NDArray[np.float32]] = []
    for shape in WEIGHT_SHAPES:
        if len(shape) == 1:
            parts.append(np.zeros(shape, dtype=np.float32))
        else:
            limit = np.sqrt(6.0 / (shape[0] + shape[1]))
            parts.append(generator.uniform(-limit, limit, size=shape).astype(np.float32))
    return flatten(parts)


def flatten(arrays: Sequence[NDArray[np.float32]]) -> Weights:
    """Join the arrays of `WEIGHT_SHAPES` into one flat array."""
    return np.concatenate([np.asarray(array, dtype=np.float32).ravel() for array in arrays])


def unflatten(weights: Weights) -> list[NDArray[np.float32]]:
    """Split one flat array into the arrays of `WEIGHT_SHAPES`.

    Raises
    ------
    ValueError
        If the number of weights is not this network's.
    """
    if weights.shape != (NUM_WEIGHTS,):
        raise ValueError(f"expected {NUM_WEIGHTS} weights, got an array of shape {weights.shape}")
    arrays: list[NDArray[np.float32]] = []
    start = 0
    for shape in WEIGHT_SHAPES:
        size = int(np.prod(shape))
        arrays.append(weights[start : start + size].reshape(shape))
        start += size
    return arrays


def weights_to_bytes(weights: Weights) -> bytes:
    """Return the weights as little-endian float32, the form that the database holds."""
    return weights.astype("<f4").tobytes()


def weights_from_bytes(stored: bytes) -> Weights:
    """Read what `weights_to_bytes` wrote."""
    return np.frombuffer(stored, dtype="<f4").astype(np.float32)


def weights_sha256(weights: Weights) -> str:
    """Return the SHA-256 of `weights_to_bytes`, in hexadecimal."""
    return hashlib.sha256(weights_to_bytes(weights)).hexdigest()


def forward(weights: Sequence[NDArray[np.float32]], inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the network's output, shape (n,), from unflattened weights and scaled inputs, shape (n, 13)."""
    activation = inputs
    last = len(weights) - 2
    for index in range(0, len(weights), 2):
        activation = activation @ weights[index]
        activation += weights[index + 1]
        if index != last:
            np.maximum(activation, 0.0, out=activation)
    return activation[:, 0]


@dataclass(frozen=True)
class CostModel:
    """A trained network with its preprocessing; predicts without TensorFlow.

    Raises
    ------
    ValueError
        If the preprocessing is of other input columns, or the number of weights differs.
    """

    preprocessing: Preprocessing
    weights: Weights

    def __post_init__(self) -> None:
        if self.preprocessing.input_names != INPUT_NAMES:
            raise ValueError("the model was trained on other input columns than this version encodes")
        object.__setattr__(self, "_layers", unflatten(self.weights))

    def predict(self, columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> NDArray[np.float64]:
        """Predict the yearly cost in USD, shape (n,), of columns of valid feature values.

        A cost below zero, which the network can produce far outside its data, is answered as zero.
        """
        return np.maximum(self.unclipped_costs(encode(columns)), 0.0)

    def unclipped_costs(self, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the network answers for encoded, unscaled inputs, shape (n, 13): USD, shape (n,)."""
        layers: list[NDArray[np.float32]] = self._layers  # type: ignore[attr-defined]
        return self.preprocessing.cost_of(forward(layers, self.preprocessing.scale_inputs(inputs)))
