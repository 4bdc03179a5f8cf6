"""AOTInductor packages: the graph compiled to machine code by torch's compiler and the C++ compiler of this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch

from perception.errors import PerceptionError


def write_package(program: torch.export.ExportedProgram, path: Path) -> None:
    """Compile and write; PerceptionError where there is no C++ compiler, or torch's compiler fails."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise PerceptionError(
            f"no C++ compiler {compiler!r}", "g++ or clang++, which AOTInductor calls", "install one, or name it in CXX"
        )
    from torch._inductor import aoti_compile_and_package

    try:
        with torch.inference_mode(False), torch.no_grad():
            # Weights as constants may be laid out for the processor's kernels: 53 ms in place of 89 (measured).
            aoti_compile_and_package(program, package_path=str(path), inductor_configs={"freezing": True})
    except Exception as error:
        first = str(error).strip().splitlines()[:1]
        raise PerceptionError(f"AOTInductor failed: {first}", "a graph that torch compiles", "use --to onnx") from error
