"""Model versions as `.keras` files; run as a process of its own, because it imports TensorFlow and reads strange files.

`python -m fl.keras_file export MODEL.json FILE.keras` and `python -m fl.keras_file import FILE.keras ANSWER.json`. The
JSON holds `weights` (float32, little-endian, base64) and `preprocessing`; the answer to a file that is not accepted
holds `refused`, a sentence.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np

from fl.features import INPUT_NAMES, Preprocessing
from fl.keras_shape import NotOurShape, Scaling, scaling_of
from fl.model import (
    HIDDEN_UNITS,
    WEIGHT_SHAPES,
    Weights,
    flatten,
    unflatten,
    weights_from_bytes,
    weights_to_bytes,
)

CPU_SECONDS = 60  # importing TensorFlow takes 5
MEMORY = 6 * 1024**3  # bytes of addresses; TensorFlow alone reserves 2.3 GiB
LARGEST_OUTPUT = 16 * 1024**2  # bytes


def main(arguments: list[str]) -> None:
    """Do what the command line asks for, within limits of time and memory."""
    command, source, target = arguments
    _limit()
    if command == "export":
        _export(json.loads(Path(source).read_text()), Path(target))
    elif command == "import":
        Path(target).write_text(json.dumps(_import(Path(source))))
    else:
        raise SystemExit(f"unknown command {command}")


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_OUTPUT, LARGEST_OUTPUT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS refuses a limit below what a process has reserved already
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _export(given: dict[str, Any], path: Path) -> None:
    preprocessing = Preprocessing.from_json(given["preprocessing"])
    network = _network(
        Scaling(
            preprocessing.mean,
            tuple(scale**2 for scale in preprocessing.scale),
            preprocessing.target_scale,
            preprocessing.target_mean,
        )
    )
    weights = weights_from_bytes(base64.b64decode(given["weights"]))
    network.set_weights(unflatten(weights))
    network.save(path)


def _import(path: Path) -> dict[str, Any]:
    try:
        scaling = scaling_of(path)
        network = _network(scaling)
        try:
            # Only arrays are read: what the file says of itself was compared as text and is never built.
            network.load_weights(path)
        except Exception:  # whatever h5py, zipfile and Keras raise of a file that somebody made up
            raise NotOurShape("The weights in the file are not those of the layers that it lists.") from None
        weights = _weights_of(network)
        preprocessing = _preprocessing(scaling, network) if scaling else None
    except NotOurShape as problem:
        return {"refused": str(problem)}
    return {
        "weights": base64.b64encode(weights_to_bytes(weights)).decode(),
        "preprocessing": preprocessing.to_json() if preprocessing else None,
    }


def _network(scaling: Scaling | None) -> Any:
    """Build our own network, with what the scaler needs before and after it."""
    keras = _keras()
    layers = keras.layers
    core = [*(layers.Dense(units, activation="relu") for units in HIDDEN_UNITS), layers.Dense(1)]
    inputs = keras.Input((len(INPUT_NAMES),), name="features")
    if scaling is None:
        return keras.Sequential([inputs, *core])
    given = {}
    if scaling.mean is not None and scaling.variance is not None:
        given = {"mean": list(scaling.mean), "variance": list(scaling.variance)}
    return keras.Sequential(
        [
            inputs,
            layers.Normalization(**given),
            *core,
            layers.Rescaling(scaling.target_scale, scaling.target_mean),
            layers.ReLU(name="cost_usd"),
        ],
        name="fedcost",
    )


def _weights_of(network: Any) -> Weights:
    arrays = [
        np.asarray(value, dtype=np.float32)
        for layer in network.layers
        if type(layer).__name__ == "Dense"
        for value in layer.get_weights()
    ]
    if tuple(array.shape for array in arrays) != WEIGHT_SHAPES:
        raise NotOurShape("The weights in the file have other shapes than those of our network.")
    weights = flatten(arrays)
    if not np.isfinite(weights).all():
        raise NotOurShape("Some weights in the file are not finite numbers.")
    return weights


def _preprocessing(scaling: Scaling, network: Any) -> Preprocessing:
    mean, variance = scaling.mean, scaling.variance
    if mean is None or variance is None:  # adapted: they stand among the weights
        mean, variance = (
            tuple(float(number) for number in np.asarray(values).ravel())
            for values in network.layers[0].get_weights()[:2]
        )
        if not np.isfinite([*mean, *variance]).all() or min(variance) <= 0:
            raise NotOurShape("Layer 1 (Normalization) has no finite means and variances above zero.")
    return Preprocessing(
        INPUT_NAMES,
        mean,
        tuple(float(scale) for scale in np.sqrt(variance)),
        target_mean=scaling.target_mean,
        target_scale=scaling.target_scale,
    )


def _keras() -> Any:
    """Import Keras once the file is known to be worth it; it takes some seconds."""
    os.environ.update(
        CUDA_VISIBLE_DEVICES="-1",
        TF_CPP_MIN_LOG_LEVEL="3",
        TF_ENABLE_ONEDNN_OPTS="0",
        TF_NUM_INTRAOP_THREADS="1",
        TF_NUM_INTEROP_THREADS="1",
    )
    import keras

    return keras


if __name__ == "__main__":
    main(sys.argv[1:])
