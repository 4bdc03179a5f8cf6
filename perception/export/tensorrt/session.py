"""Run a TensorRT engine with torch's memory on the GPU. Written by the library's documentation, not yet run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perception.errors import PerceptionError, missing_extra
from perception.export.manifest import Segment

KINDS = {"float32": torch.float32, "int32": torch.int32, "int64": torch.int64, "bool": torch.bool}


class EngineSession:
    """One execution context; outputs have the fixed shapes that the manifest names, or those of an input's rows."""

    def __init__(self, path: Path, segment: Segment) -> None:
        try:
            import tensorrt
        except ImportError:
            raise missing_extra("tensorrt", "tensorrt") from None
        if not torch.cuda.is_available():
            raise PerceptionError("no CUDA device", "the GPU that the engine was built on", "use an ONNX export here")
        runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.WARNING))
        self.engine: Any = runtime.deserialize_cuda_engine(path.read_bytes())
        if self.engine is None:
            raise PerceptionError(
                f"TensorRT {tensorrt.__version__} on {torch.cuda.get_device_name()} refuses {path}",
                "an engine that was built with this version on this GPU",
                "export again on this machine",
            )
        self.context, self.segment = self.engine.create_execution_context(), segment

    def run(self, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
        held: dict[str, Tensor] = {}
        for spec in self.segment.inputs:
            held[spec.name] = arrays[spec.name].to("cuda", KINDS[spec.dtype]).contiguous()
            if not self.context.set_input_shape(spec.name, tuple(held[spec.name].shape)):
                raise PerceptionError(
                    f"{spec.name} of shape {tuple(held[spec.name].shape)}", "what the engine was built for"
                )
        for spec in self.segment.outputs:
            shape = tuple(self.context.get_tensor_shape(spec.name))
            held[spec.name] = torch.empty(shape, dtype=KINDS[spec.dtype], device="cuda")
        for name, tensor in held.items():
            self.context.set_tensor_address(name, tensor.data_ptr())
        stream = torch.cuda.current_stream()
        if not self.context.execute_async_v3(stream.cuda_stream):
            raise PerceptionError("TensorRT failed to run the engine", "see its messages above")
        stream.synchronize()
        return {spec.name: held[spec.name].cpu() for spec in self.segment.outputs}
