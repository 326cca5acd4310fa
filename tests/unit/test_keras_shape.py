"""A file that is not of our shape is refused with what is different, before Keras is given anything of it."""

from __future__ import annotations

import copy
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from fl.keras_shape import LARGEST_CONFIG, LARGEST_UNPACKED, NotOurShape, scaling_of

DTYPE = {
    "module": "keras",
    "class_name": "DTypePolicy",
    "config": {"name": "float32"},
    "registered_name": None,
}


def _layer(kind: str, **config: Any) -> dict[str, Any]:
    """Return a layer as Keras 3 writes it."""
    return {
        "module": "keras.layers",
        "class_name": kind,
        "config": {"name": kind.lower(), "dtype": DTYPE, **config},
        "registered_name": None,
    }


def _dense(units: int) -> dict[str, Any]:
    activation = "linear" if units == 1 else "relu"
    return _layer("Dense", units=units, activation=activation, use_bias=True, quantization_config=None)


INPUT = _layer("InputLayer", batch_shape=[None, 13])
NORMALIZATION = _layer("Normalization", axis=[-1], invert=False, mean=[0.5] * 13, variance=[4.0] * 13)
NETWORK = [_dense(units) for units in (128, 64, 32, 1)]
RESCALING = _layer("Rescaling", scale=12000.0, offset=13000.0)
RELU = _layer("ReLU", max_value=None, negative_slope=0.0, threshold=0.0)
WHOLE = [INPUT, NORMALIZATION, *NETWORK, RESCALING, RELU]


def _config(layers: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    return {"module": "keras", "class_name": "Sequential", "config": {"layers": layers}, **changes}


def _file(folder: Path, config: object, **entries: bytes) -> Path:
    path = folder / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        text = config if isinstance(config, bytes) else json.dumps(config).encode()
        for name, content in {
            "metadata.json": b"{}",
            "config.json": text,
            "model.weights.h5": b"weights",
            **entries,
        }.items():
            archive.writestr(name, content)
    return path


def _changed(place: int, **config: Any) -> list[dict[str, Any]]:
    layers = copy.deepcopy(WHOLE)
    layers[place]["config"].update(config)
    return layers


@pytest.mark.parametrize("layers", [WHOLE, WHOLE[:-1], WHOLE[1:]])
def test_our_own_shape_brings_its_scaler(tmp_path: Path, layers: list[dict[str, Any]]) -> None:
    scaling = scaling_of(_file(tmp_path, _config(layers)))
    assert scaling is not None
    assert (scaling.mean, scaling.variance) == ((0.5,) * 13, (4.0,) * 13)
    assert (scaling.target_scale, scaling.target_mean) == (12000.0, 13000.0)


def test_the_bare_network_has_none_and_an_adapted_one_has_it_among_its_weights(tmp_path: Path) -> None:
    assert scaling_of(_file(tmp_path, _config([INPUT, *NETWORK]))) is None
    scaling = scaling_of(_file(tmp_path, _config(_changed(1, mean=None, variance=None))))
    assert scaling is not None and scaling.mean is None and scaling.target_scale == 12000.0


def test_a_mean_written_as_an_array_is_read_too(tmp_path: Path) -> None:
    array = {"class_name": "__numpy__", "config": {"value": [[0.25] * 13], "dtype": "float32"}}
    scaling = scaling_of(_file(tmp_path, _config(_changed(1, mean=array))))
    assert scaling is not None and scaling.mean == (0.25,) * 13


LAMBDA = _layer("Lambda", function={"class_name": "__lambda__", "config": {"code": "4wEAAAAA"}})
CUSTOM = {**_layer("Dense", units=128), "module": "evil.layers", "registered_name": "evil>Dense"}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (_config([INPUT, LAMBDA, *WHOLE[1:]]), "Layer 1 is 'Lambda'; expected Normalization"),
        (_config([INPUT, NORMALIZATION, CUSTOM]), "Layer 2 is 'Dense' of 'evil.layers'"),
        (_config([INPUT, *NETWORK, RELU]), "Layer 1 is 'Dense'; expected Normalization"),
        (_config([*WHOLE, RELU]), "The model has 8 layers; expected 6 or 7"),
        (_config(WHOLE, class_name="Functional"), "The model is 'Functional'; expected a Keras Sequential"),
        (_config(WHOLE, module="evil"), "expected a Keras Sequential"),
        (_config(_changed(0, batch_shape=[None, 11])), "inputs of shape [None, 11]; expected 13 columns"),
        (_config(_changed(2, units=256)), "Layer 2 (Dense) has units 256; expected 128"),
        (_config(_changed(3, activation="tanh")), "Layer 3 (Dense) has activation 'tanh'; expected 'relu'"),
        (_config(_changed(5, activation={"module": "evil"})), "expected 'linear'"),
        (_config(_changed(4, use_bias=False)), "Layer 4 (Dense) has use bias False; expected True"),
        (_config(_changed(2, dtype="float16")), "Layer 2 computes in 'float16'; expected float32"),
        (_config(_changed(2, quantization_config={})), "Layer 2 is quantized"),
        (_config(_changed(1, axis=[0])), "Layer 1 (Normalization) has axis [0]; expected [-1]"),
        (_config(_changed(1, mean=[0.5] * 11)), "no 13 finite means and variances"),
        (_config(_changed(1, mean=[float("nan")] * 13)), "no 13 finite means and variances"),
        (_config(_changed(1, variance=[0.0] * 13)), "a variance that is not above zero"),
        (_config(_changed(1, variance=None)), "only one of mean and variance"),
        (_config(_changed(6, scale=0.0)), "Layer 6 (Rescaling) has no finite offset and scale above zero"),
        (_config(_changed(6, offset="13000")), "Layer 6 (Rescaling) has no finite offset"),
        (_config(_changed(7, max_value=6.0)), "Layer 7 (ReLU) has max value 6.0; expected None"),
        (_config([]), "The model has 0 layers"),
        ({"module": "keras", "class_name": "Sequential"}, "is not as Keras writes it"),
        ([1], "is not that of a model"),
        (b"{", "no .keras file as Keras 3 writes it"),
        (b"[" * 100_000, "no .keras file as Keras 3 writes it"),
        (b" " * (LARGEST_CONFIG + 1), "far longer than that of our network"),
    ],
)
def test_anything_else_is_refused_with_what_is_different(tmp_path: Path, config: object, words: str) -> None:
    with pytest.raises(NotOurShape) as refused:
        scaling_of(_file(tmp_path, config))
    assert words in str(refused.value)


def test_files_that_are_no_keras_files_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "model.keras"
    other.write_bytes(b"\x89HDF\r\n\x1a\n and so on")
    with pytest.raises(NotOurShape, match=r"no \.keras file"):
        scaling_of(other)
    with pytest.raises(NotOurShape, match=r"holds 'assets/run\.py', which an import does not read"):
        scaling_of(_file(tmp_path, _config(WHOLE), **{"assets/run.py": b"import os"}))
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("config.json", json.dumps(_config(WHOLE)))
    with pytest.raises(NotOurShape, match="lacks its configuration or its weights"):
        scaling_of(other)


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(tmp_path: Path) -> None:
    bomb = {"model.weights.h5": bytes(LARGEST_UNPACKED)}
    path = _file(tmp_path, _config(WHOLE), **bomb)
    assert path.stat().st_size < 100_000
    with pytest.raises(NotOurShape, match="unpacks to more than 8 MiB"):
        scaling_of(path)
