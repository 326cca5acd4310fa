"""An exported ONNX file answers what the product answers, in another runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from db.cohort import generate
from fl.features import FEATURE_NAMES, INPUT_NAMES, encode
from fl.model import CostModel, initial_weights
from fl.onnx_file import onnx_bytes
from fl.statistics import moments_of, pooled_preprocessing

COHORT = generate(1000, seed=3)
COLUMNS = {name: getattr(COHORT, name) for name in FEATURE_NAMES}


@pytest.fixture(scope="module")
def model() -> CostModel:
    preprocessing = pooled_preprocessing([moments_of(encode(COLUMNS), COHORT.insurance_cost)])
    return CostModel(preprocessing, initial_weights(4))


def _session(content: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def test_onnx_runtime_answers_what_the_product_answers(model: CostModel) -> None:
    session = _session(onnx_bytes(model, metadata={}))
    inputs = encode(COLUMNS).astype(np.float32)
    (costs,) = session.run(["cost_usd"], {"features": inputs})
    expected = model.predict(COLUMNS)
    assert costs.dtype == np.float32 and costs.shape == (1000,)
    assert expected.std() > 100  # not one figure for all
    # BMI has three decimals, which float32 holds to 4e-8.
    np.testing.assert_allclose(costs, expected, rtol=1e-5)


def test_a_cost_below_zero_is_zero_in_the_file_too(model: CostModel) -> None:
    below = CostModel(model.preprocessing, initial_weights(4) * 3)
    session = _session(onnx_bytes(below, metadata={}))
    (costs,) = session.run(["cost_usd"], {"features": encode(COLUMNS).astype(np.float32)})
    expected = below.predict(COLUMNS)
    assert (expected == 0).sum() > 10 and ((costs == 0) == (expected == 0)).all()


def test_the_file_says_what_it_is_and_one_row_is_enough(model: CostModel) -> None:
    content = onnx_bytes(model, metadata={"version": "v7", "weights_sha256": "ab" * 32})
    session = _session(content)
    (given,) = session.get_inputs()
    (answered,) = session.get_outputs()
    assert (given.name, given.type, given.shape) == ("features", "tensor(float)", ["n", 13])
    assert (answered.name, answered.type, answered.shape) == ("cost_usd", "tensor(float)", ["n"])
    properties = session.get_modelmeta().custom_metadata_map
    assert properties["version"] == "v7" and properties["weights_sha256"] == "ab" * 32
    assert properties["inputs"].split(", ") == list(INPUT_NAMES)
    (cost,) = session.run(None, {"features": encode(COLUMNS)[:1].astype(np.float32)})
    assert cost.shape == (1,)
    assert onnx.load_from_string(content).ir_version == 8
    assert content == onnx_bytes(model, metadata={"version": "v7", "weights_sha256": "ab" * 32})
