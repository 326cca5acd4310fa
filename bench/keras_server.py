"""The web application with `keras.predict` behind the same routes: a peer for `make bench-predict`, not for use."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.main import app
from fl.features import encode
from fl.model import CostModel, unflatten, weights_from_bytes, weights_to_bytes
from fl.training import build_network

__all__ = ["app"]

_one_at_a_time = threading.Lock()  # Keras does not promise that `predict` may run in several threads at once


@lru_cache(maxsize=1)
def _network(weights: bytes) -> Any:
    network = build_network()
    network.set_weights(unflatten(weights_from_bytes(weights)))
    return network


def _predict(self: CostModel, columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> NDArray[np.float64]:
    scaled = self.preprocessing.scale_inputs(encode(columns))
    with _one_at_a_time:
        standardised = _network(weights_to_bytes(self.weights)).predict(scaled, verbose=0)[:, 0]
    costs: NDArray[np.float64] = np.maximum(self.preprocessing.cost_of(standardised), 0.0)
    return costs


CostModel.predict = _predict  # type: ignore[method-assign]
