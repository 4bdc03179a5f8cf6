"""What the ONNX parser of TensorRT 10 is known not to take, checked without the library.

Facts of onnx-tensorrt's list of supported operators (docs/operators.md, TensorRT 10.0, June 2024).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from perception.errors import PerceptionError
from perception.export.onnx_file import opset_of

OPSETS = (9, 20)
TOPK_BELOW = 3840
# Standard operators that occur around detectors and that the list marks as not supported.
REFUSED = {
    "BitShift",
    "Compress",
    "ConvInteger",
    "Det",
    "DynamicQuantizeLinear",
    "GridSample3D",
    "MatMulInteger",
    "MaxUnpool",
    "QLinearConv",
    "QLinearMatMul",
    "SplitToSequence",
    "StringSplit",
    "Unique",
}


def problems(model: Any) -> list[str]:
    """Why the parser would refuse a model, one line each; empty where nothing is known against it."""
    found = []
    version = opset_of(model)
    if not OPSETS[0] <= version <= OPSETS[1]:
        found.append(f"opset {version}: the parser reads {OPSETS[0]} to {OPSETS[1]}")
    constants = _constants(model)
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            found.append(f"{node.name}: {node.domain}::{node.op_type} is no standard operator")
        elif node.op_type in REFUSED:
            found.append(f"{node.name}: {node.op_type} is not supported")
        elif node.op_type == "ScatterND" and _reduction(node) != "none":
            found.append(f"{node.name}: ScatterND with the reduction {_reduction(node)!r}")
        elif node.op_type == "TopK":
            count = constants.get(node.input[1])
            if count is None:
                found.append(f"{node.name}: TopK of a number that is not constant")
            elif int(count.reshape(-1)[0]) >= TOPK_BELOW:
                found.append(f"{node.name}: TopK of {int(count.reshape(-1)[0])}, fewer than {TOPK_BELOW} are possible")
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2:
            zero = constants.get(node.input[2])
            if zero is None or np.any(zero):
                found.append(f"{node.name}: {node.op_type} with a zero point other than 0")
    return found


def check(model: Any) -> None:
    """PerceptionError with the first problems of a model."""
    found = problems(model)
    if found:
        more = f"; and {len(found) - 4} more" if len(found) > 4 else ""
        raise PerceptionError(
            f"TensorRT's parser would refuse the graph: {'; '.join(found[:4])}{more}",
            "operators of its list",
            "export with --to engine, which keeps to them, in fp32, fp16 or int8",
        )


def _constants(model: Any) -> dict[str, np.ndarray]:
    from onnx import numpy_helper

    found = {value.name: numpy_helper.to_array(value) for value in model.graph.initializer if _small(value)}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def _small(value: Any) -> bool:
    return int(np.prod(list(value.dims) or [1])) <= 4096


def _reduction(node: Any) -> str:
    return next((part.s.decode() for part in node.attribute if part.name == "reduction"), "none")
