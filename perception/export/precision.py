"""Eight-bit ONNX files through onnxruntime's quantisation."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch import Tensor

from perception.errors import missing_extra

# Of the values met in calibration, so many keep their size; the largest few would cost all others their digits.
PERCENTILE = 99.99


def quantise_static(path: Path, feeds: Sequence[Mapping[str, Tensor]], keep: Sequence[str]) -> None:
    """Convolutions of maps in int8, scales from calibration feeds, in place.

    Symmetric, as pairs of QuantizeLinear and DequantizeLinear: the form that TensorRT reads as well. ``keep``: the
    nodes that stay float, the last of each head, whose answers are metres and logits.
    """
    quantization = _quantization()
    with TemporaryDirectory() as folder, _quiet(), contextlib.redirect_stdout(io.StringIO()):
        prepared = Path(folder) / "prepared.onnx"
        quantization.shape_inference.quant_pre_process(
            str(path), str(prepared), skip_symbolic_shape=True, skip_optimization=True
        )
        quantization.quantize_static(
            str(prepared),
            str(path),
            _Reader(feeds),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "ConvTranspose"],
            nodes_to_exclude=list(keep),
            per_channel=True,
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.Percentile,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "CalibPercentile": PERCENTILE},
        )


def last_convolutions(path: Path) -> list[str]:
    """Names of the convolutions whose answers reach an output without another convolution between."""
    import onnx

    graph = onnx.load(str(path)).graph
    maker = {name: node for node in graph.node for name in node.output}
    found, seen = set(), set()
    waiting = [value.name for value in graph.output]
    while waiting:
        node = maker.get(waiting.pop())
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if node.op_type in ("Conv", "ConvTranspose"):
            found.add(node.name)
        else:
            waiting += list(node.input)
    return sorted(found)


class _Reader:
    """Calibration feeds as onnxruntime asks for them."""

    def __init__(self, feeds: Sequence[Mapping[str, Tensor]]) -> None:
        self.feeds = iter([{name: np.asarray(value) for name, value in feed.items()} for feed in feeds])

    def get_next(self) -> dict[str, Any] | None:
        return next(self.feeds, None)


def _quantization() -> Any:
    try:
        from onnxruntime import quantization
        from onnxruntime.quantization import shape_inference  # noqa: F401 (an attribute from now on)
    except ImportError:
        raise missing_extra("onnxruntime", "export") from None
    return quantization


@contextlib.contextmanager
def _quiet() -> Any:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
