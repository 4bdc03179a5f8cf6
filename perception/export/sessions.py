"""What runs an exported file: arrays by name in, arrays by name out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from perception.errors import PerceptionError, missing_extra
from perception.export.manifest import Manifest, Segment
from perception.export.onnx_file import check_operators, read_onnx


class Session(Protocol):
    def run(self, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]: ...


class OnnxSession:
    """onnxruntime on as many threads as torch has, on CUDA where it was built with it and that is asked for."""

    def __init__(self, path: Path, segment: Segment, device: torch.device) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise missing_extra("onnxruntime", "export") from None
        check_operators(read_onnx(path))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=_providers(onnxruntime, device))
        except Exception as error:  # onnxruntime's errors have no common class
            raise PerceptionError(f"onnxruntime refuses {path}: {error}", "an exported network") from None
        self.segment = segment
        _check_names(
            path, segment, {i.name for i in self.session.get_inputs()}, {o.name for o in self.session.get_outputs()}
        )

    def run(self, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
        given = {spec.name: arrays[spec.name].numpy() for spec in self.segment.inputs}
        names = [spec.name for spec in self.segment.outputs]
        return {name: torch.from_numpy(value) for name, value in zip(names, self.session.run(names, given))}


class PackageSession:
    """An AOTInductor package: compiled code, which torch loads without the model's classes."""

    def __init__(self, path: Path, segment: Segment, device: torch.device) -> None:
        from torch._inductor import aoti_load_package

        try:
            self.package: Any = aoti_load_package(str(path))
        except Exception as error:
            raise PerceptionError(f"torch cannot load {path}: {error}", "a package for this kind of machine") from None
        self.segment, self.device = segment, device

    def run(self, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
        given = [arrays[spec.name] for spec in self.segment.inputs]
        with torch.inference_mode():
            found = self.package(*given)
        return {spec.name: value for spec, value in zip(self.segment.outputs, found)}


def open_session(folder: Path, manifest: Manifest, segment: Segment, device: torch.device) -> Session:
    path = folder / segment.file
    if manifest.target == "aoti":
        return PackageSession(path, segment, device)
    if manifest.target == "engine":
        from perception.export.tensorrt.session import EngineSession

        return EngineSession(path, segment)
    return OnnxSession(path, segment, device)


def _providers(onnxruntime: Any, device: torch.device) -> list[str]:
    if device.type == "cpu":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise PerceptionError(
            f"onnxruntime on {device}", "a build with CUDA", "pip install onnxruntime-gpu, or use --device cpu"
        )
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]


def _check_names(path: Path, segment: Segment, inputs: set[str], outputs: set[str]) -> None:
    wanted = {spec.name for spec in segment.inputs}, {spec.name for spec in segment.outputs}
    if wanted != (inputs, outputs):
        raise PerceptionError(
            f"{path} takes {sorted(inputs)} and answers {sorted(outputs)}",
            f"{sorted(wanted[0])} and {sorted(wanted[1])}, as the manifest says",
            "export the model again",
        )
