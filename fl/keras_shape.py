"""What a `.keras` file must be to be imported: checked in its zip and JSON, before Keras is given anything of it."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl.features import INPUT_NAMES
from fl.model import HIDDEN_UNITS

LARGEST_FILE = 2 * 1024 * 1024  # bytes; ours has 80,000, with the state of an optimizer 240,000
LARGEST_UNPACKED = 8 * 1024 * 1024  # bytes
LARGEST_CONFIG = 1024 * 1024  # bytes
WEIGHTS, CONFIG = "model.weights.h5", "config.json"
_ENTRIES = {WEIGHTS, CONFIG, "metadata.json"}
_UNITS = (*HIDDEN_UNITS, 1)
NETWORK = "-".join(map(str, (len(INPUT_NAMES), *_UNITS)))

Config = Mapping[str, Any]


class NotOurShape(Exception):
    """The file is not one that can be imported; the message names what is different."""


@dataclass(frozen=True)
class Scaling:
    """The scaler that a file brings.

    Attributes
    ----------
    mean, variance
        Of each input, shape (13,); None if they stand among the weights of an adapted `Normalization`.
    target_scale, target_mean
        USD.
    """

    mean: tuple[float, ...] | None
    variance: tuple[float, ...] | None
    target_scale: float
    target_mean: float


def scaling_of(path: Path) -> Scaling | None:
    """Check a file from outside and return its scaler; None of the bare network, which has none.

    Nothing in it is built or run: only its list of entries and the text of its configuration are read.

    Raises
    ------
    NotOurShape
        If anything differs from what an export writes, or from the bare network 13-128-64-32-1.
    """
    config = _configuration(path)
    if config.get("class_name") != "Sequential" or config.get("module") != "keras":
        raise NotOurShape(f"The model is {_said(config.get('class_name'))}; expected a Keras Sequential.")
    listed = _field(config, "config").get("layers")
    if not isinstance(listed, list) or not all(isinstance(layer, dict) for layer in listed):
        raise NotOurShape("The model has no list of layers.")
    layers: list[Config] = listed
    if layers and layers[0].get("class_name") == "InputLayer":
        _check_input(layers[0])
        layers = layers[1:]
    for number, layer in enumerate(layers, 1):
        _check_plain(number, layer)
    found = [str(layer["class_name"]) for layer in layers]
    network = ["Dense"] * len(_UNITS)
    if found == network:
        _check_network(1, layers)
        return None
    whole = ["Normalization", *network, "Rescaling"]
    if found not in (whole, [*whole, "ReLU"]):
        raise NotOurShape(_different(found, [*whole, "ReLU"]))
    _check_network(2, layers[1 : 1 + len(network)])
    if len(found) > len(whole):
        _check_settings(len(found), layers[-1], max_value=None, negative_slope=0.0, threshold=0.0)
    return _scaling(layers[0], layers[len(whole) - 1], number=len(whole))


def _configuration(path: Path) -> Config:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if sorted(names) != sorted(_ENTRIES):
                other = sorted(set(names) - _ENTRIES)
                raise NotOurShape(
                    f"The file holds {_said(other[0])}, which an import does not read."
                    if other
                    else "The file is no complete .keras file: it lacks its configuration or its weights."
                )
            if sum(entry.file_size for entry in entries) > LARGEST_UNPACKED:
                raise NotOurShape(
                    f"The file unpacks to more than {LARGEST_UNPACKED // 1024**2} MiB, far more than a model "
                    f"{NETWORK} needs."
                )
            with archive.open(CONFIG) as opened:
                text = opened.read(LARGEST_CONFIG + 1)
        if len(text) > LARGEST_CONFIG:
            raise NotOurShape("The configuration of the file is far longer than that of our network.")
        config = json.loads(text)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, RecursionError):
        raise NotOurShape("The file is no .keras file as Keras 3 writes it.") from None
    if not isinstance(config, dict):
        raise NotOurShape("The configuration of the file is not that of a model.")
    return config


def _check_input(layer: Config) -> None:
    shape = _field(layer, "config").get("batch_shape")
    if shape != [None, len(INPUT_NAMES)]:
        raise NotOurShape(f"The model takes inputs of shape {_said(shape)}; expected 13 columns.")


def _check_plain(number: int, layer: Config) -> None:
    """Refuse code of the file's own: only layers of Keras itself, in float32."""
    name, module = layer.get("class_name"), layer.get("module")
    if module != "keras.layers" or layer.get("registered_name") is not None or not isinstance(name, str):
        raise NotOurShape(
            f"Layer {number} is {_said(name)} of {_said(module)}; expected one of Keras' own layers."
        )
    kind = _field(layer, "config").get("dtype")
    if isinstance(kind, dict):
        kind = _field(kind, "config").get("name")
    if kind not in ("float32", None):
        raise NotOurShape(f"Layer {number} computes in {_said(kind)}; expected float32.")


def _check_network(first: int, layers: Sequence[Config]) -> None:
    for number, (layer, units) in enumerate(zip(layers, _UNITS, strict=True), first):
        activation = "linear" if units == 1 else "relu"
        _check_settings(number, layer, units=units, activation=activation, use_bias=True)
        if _field(layer, "config").get("quantization_config") is not None:
            raise NotOurShape(f"Layer {number} is quantized; expected float32 weights.")


def _check_settings(number: int, layer: Config, **expected: Any) -> None:
    config = _field(layer, "config")
    for name, value in expected.items():
        given = config.get(name)
        if given != value or (isinstance(given, bool) != isinstance(value, bool)):
            raise NotOurShape(
                f"Layer {number} ({layer['class_name']}) has {name.replace('_', ' ')} {_said(given)}; "
                f"expected {_said(value)}."
            )


def _scaling(normalization: Config, rescaling: Config, *, number: int) -> Scaling:
    _check_settings(1, normalization, axis=[-1], invert=False)
    config = _field(normalization, "config")
    mean, variance = (_numbers(config.get(name)) for name in ("mean", "variance"))
    if (config.get("mean") is None) != (config.get("variance") is None):
        raise NotOurShape("Layer 1 (Normalization) has only one of mean and variance; expected both.")
    if config.get("mean") is not None and (
        mean is None or variance is None or len(mean) != len(INPUT_NAMES) or len(variance) != len(INPUT_NAMES)
    ):
        raise NotOurShape("Layer 1 (Normalization) has no 13 finite means and variances.")
    if variance is not None and min(variance) <= 0:
        raise NotOurShape("Layer 1 (Normalization) has a variance that is not above zero.")
    of_cost = _field(rescaling, "config")
    scale, offset = (_numbers([of_cost.get(name)]) for name in ("scale", "offset"))
    if scale is None or offset is None or scale[0] <= 0:
        raise NotOurShape(f"Layer {number} (Rescaling) has no finite offset and scale above zero.")
    return Scaling(mean, variance, target_scale=scale[0], target_mean=offset[0])


def _numbers(value: object) -> tuple[float, ...] | None:
    """Read a list of finite numbers, also nested in a list of one, or as Keras writes an array."""
    if isinstance(value, dict):
        inner = value.get("config")
        value = inner.get("value") if isinstance(inner, dict) else None
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    if not isinstance(value, list):
        return None
    numbers = [number for number in value if isinstance(number, int | float) and not isinstance(number, bool)]
    try:
        floats = tuple(map(float, numbers))
    except OverflowError:
        return None
    return floats if len(floats) == len(value) and all(map(math.isfinite, floats)) else None


def _different(found: Sequence[str], expected: Sequence[str]) -> str:
    listed = " – ".join(expected)
    for number, (ours, theirs) in enumerate(zip(expected, found, strict=False), 1):
        if ours != theirs:
            return f"Layer {number} is {_said(theirs)}; expected {ours} (the whole model: {listed})."
    return (
        f"The model has {len(found)} layers; expected {len(expected) - 1} or {len(expected)} (the whole model: "
        f"{listed}; the last may be missing)."
    )


def _field(config: Config, name: str) -> Config:
    value = config.get(name)
    if not isinstance(value, dict):
        raise NotOurShape("The configuration of the file is not as Keras writes it.")
    return value


def _said(value: object) -> str:
    """Write what a file says, shortened and in plain characters."""
    return ascii(value)[:60]
