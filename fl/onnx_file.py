"""A model version as an ONNX file: scaler, network and unit inside one graph, written without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fl.features import INPUT_NAMES
from fl.model import CostModel, unflatten

INPUT, OUTPUT = "features", "cost_usd"
OPSET, IR_VERSION = 17, 8  # of 2022, so that old runtimes read the file too
_OPSET_DOMAIN = ""


def onnx_bytes(model: CostModel, *, metadata: Mapping[str, str]) -> bytes:
    """Return a model as an ONNX file.

    Its input `features` is float32, shape (n, 13): encoded inputs as of `fl.features.encode`, not scaled. Its output
    `cost_usd` is float32, shape (n,): USD a year, never below zero, what `CostModel.predict` answers.

    Parameters
    ----------
    metadata
        Properties of the file besides the names of its inputs.
    """
    scaler = model.preprocessing
    # As CostModel does it: inputs and cost are scaled in float64, the network computes in float32.
    constants: dict[str, NDArray[np.float32] | NDArray[np.float64]] = {
        "input_mean": np.asarray(scaler.mean, dtype=np.float64),
        "input_scale": np.asarray(scaler.scale, dtype=np.float64),
        "cost_mean": np.asarray(scaler.target_mean, dtype=np.float64),
        "cost_scale": np.asarray(scaler.target_scale, dtype=np.float64),
        "zero": np.asarray(0.0, dtype=np.float64),
    }
    nodes = [
        helper.make_node("Cast", [INPUT], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("Sub", ["wide", "input_mean"], ["centred"]),
        helper.make_node("Div", ["centred", "input_scale"], ["divided"]),
        helper.make_node("Cast", ["divided"], ["layer_0"], to=TensorProto.FLOAT),
    ]
    arrays = unflatten(model.weights)
    layers = len(arrays) // 2
    for index in range(layers):
        kernel, bias, after = f"kernel_{index}", f"bias_{index}", f"layer_{index + 1}"
        constants[kernel], constants[bias] = arrays[2 * index], arrays[2 * index + 1]
        linear = after if index == layers - 1 else f"linear_{index}"
        nodes.append(helper.make_node("Gemm", [f"layer_{index}", kernel, bias], [linear]))
        if linear != after:
            nodes.append(helper.make_node("Relu", [linear], [after]))
    constants["rows"] = np.asarray([-1], dtype=np.int64)  # type: ignore[assignment]
    nodes += [
        helper.make_node("Reshape", [f"layer_{layers}", "rows"], ["standardised"]),
        helper.make_node("Cast", ["standardised"], ["wide_cost"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["wide_cost", "cost_scale"], ["spread"]),
        helper.make_node("Add", ["spread", "cost_mean"], ["unclipped"]),
        helper.make_node("Max", ["unclipped", "zero"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], [OUTPUT], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "fedcost",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", len(INPUT_NAMES)])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    file = helper.make_model(
        graph, opset_imports=[helper.make_opsetid(_OPSET_DOMAIN, OPSET)], producer_name="fedcost"
    )
    file.ir_version = IR_VERSION
    helper.set_model_props(file, {**metadata, "inputs": ", ".join(INPUT_NAMES), "output": "USD a year"})
    onnx.checker.check_model(file, full_check=True)
    content: bytes = file.SerializeToString(deterministic=True)
    return content
