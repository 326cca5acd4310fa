"""The network and the rows of one Site."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

EPOCHS, BATCH_SIZE = 5, 32


def build() -> Any:
    """Return the compiled network 13-128-64-32-1."""
    model = keras.Sequential(
        [
            keras.Input((13,)),
            *(keras.layers.Dense(units, activation="relu") for units in (128, 64, 32)),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.AdamW(1e-3, weight_decay=2.0), "mse")
    return model


def rows(path: str) -> tuple[Any, Any, Any, Any]:
    """Read scaled inputs and costs: training and held-out side."""
    stored = np.load(path)
    return stored["x_train"], stored["y_train"], stored["x_test"], stored["y_test"]
