"""Build an engine from an ONNX file on the target, through the Python API or, without it, through trtexec."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from perception.errors import PerceptionError
from perception.export.onnx_file import read_onnx
from perception.export.tensorrt import cache, parser_rules
from perception.export.tensorrt.profiles import Profile

TRTEXEC = ("/usr/src/tensorrt/bin/trtexec",)  # where JetPack has it, outside the PATH


def build_engine(onnx: Path, profile: Profile, precision: str, folder: Path | None = None) -> Path:
    """The engine of an ONNX file beside it, from the cache if it was built before on this GPU with this version."""
    parser_rules.check(read_onnx(onnx))
    gpu, version = machine()
    key = cache.EngineKey.of(onnx, gpu, version, precision, profile)
    kept = folder or cache.cache_folder()
    found = cache.find(key, kept) or cache.keep(key, _built(onnx, profile, precision), kept)
    target = onnx.with_suffix(".plan")
    shutil.copyfile(found, target)
    onnx.unlink()
    return target


def machine() -> tuple[str, str]:
    """Names of the GPU and of TensorRT's version; PerceptionError where either is missing."""
    if not torch.cuda.is_available():
        raise PerceptionError(
            "no CUDA device", "the GPU that will run the engine", "build on the target; --to onnx here"
        )
    return torch.cuda.get_device_name(), tensorrt_version()


def tensorrt_version() -> str:
    try:
        import tensorrt
    except ImportError:
        tool = find_trtexec()
        said = subprocess.run([tool, "--help"], capture_output=True, text=True, check=False).stdout
        return parse_version(said)
    return str(tensorrt.__version__)


def parse_version(text: str) -> str:
    """The version in trtexec's greeting: '[TensorRT v100300]' or '[TensorRT v8502]'."""
    found = re.search(r"TensorRT v(\d+)", text)
    if found is None:
        raise PerceptionError("trtexec does not say its version", "a line with 'TensorRT v...'")
    digits = found.group(1)
    if len(digits) <= 4:
        return ".".join(digits[:3])
    return f"{int(digits[:-4])}.{int(digits[-4:-2])}.{int(digits[-2:])}"


def find_trtexec() -> str:
    found = shutil.which("trtexec") or next((path for path in TRTEXEC if Path(path).is_file()), None)
    if found is None:
        raise PerceptionError(
            "neither the Python package tensorrt nor trtexec is here",
            "TensorRT, which JetPack brings",
            "install it on the target, or use --to onnx",
        )
    return found


def trtexec_arguments(tool: str, onnx: Path, engine: Path, profile: Profile, precision: str) -> list[str]:
    """The command line that builds an engine."""
    if precision not in ("fp32", "fp16", "int8"):
        raise PerceptionError(f"an engine in {precision}", "fp32, fp16 or int8")
    # A graph exported in half precision has its casts in it; the flag lets the builder choose such kernels at all.
    flags = {"fp32": ["--noTF32"], "fp16": ["--fp16"], "int8": ["--int8", "--fp16"]}[precision]
    return [
        tool,
        f"--onnx={onnx}",
        f"--saveEngine={engine}",
        f"--minShapes={profile.text(0)}",
        f"--optShapes={profile.text(1)}",
        f"--maxShapes={profile.text(2)}",
        "--skipInference",
        *flags,
    ]


def _built(onnx: Path, profile: Profile, precision: str) -> bytes:
    try:
        import tensorrt
    except ImportError:
        return _through_trtexec(onnx, profile, precision)
    return _through_python(tensorrt, onnx, profile, precision)


def _through_trtexec(onnx: Path, profile: Profile, precision: str) -> bytes:
    with TemporaryDirectory() as folder:
        engine = Path(folder) / "engine.plan"
        command: Sequence[str] = trtexec_arguments(find_trtexec(), onnx, engine, profile, precision)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not engine.is_file():
            last = " | ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
            raise PerceptionError(f"trtexec failed: {last}", "an engine", "run the command by hand for its whole log")
        return engine.read_bytes()


def _through_python(tensorrt: Any, onnx: Path, profile: Profile, precision: str) -> bytes:
    logger = tensorrt.Logger(tensorrt.Logger.WARNING)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(onnx.read_bytes()):
        said = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise PerceptionError(f"TensorRT's parser refuses {onnx.name}: {said}", "a graph of operators that it has")
    settings = builder.create_builder_config()
    shapes = builder.create_optimization_profile()
    for name, (least, usual, most) in profile.shapes.items():
        shapes.set_shape(name, least, usual, most)
    settings.add_optimization_profile(shapes)
    for flag in {"fp32": [], "fp16": ["FP16"], "int8": ["FP16", "INT8"]}[precision]:
        settings.set_flag(getattr(tensorrt.BuilderFlag, flag))
    if precision == "fp32":
        settings.clear_flag(tensorrt.BuilderFlag.TF32)
    made = builder.build_serialized_network(network, settings)
    return bytes(made) if made is not None else b""
