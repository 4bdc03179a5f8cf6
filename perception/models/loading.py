"""From a name or a path to a model that is ready to use."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch

from perception.errors import PerceptionError
from perception.io.weights import WeightsHeader, read_model
from perception.models.catalogue import MODELS, entry
from perception.models.model import Model


def shipped_weights() -> dict[str, Path]:
    """Weights that come with the package: catalogue name -> file."""
    folder = Path(str(files("perception"))) / "weights"
    return {name: folder / f"{name}.safetensors" for name in MODELS if (folder / f"{name}.safetensors").is_file()}


def load(name_or_path: str | Path, device: torch.device | str = "cpu") -> Model:
    """A model in eval mode, from a weights file or from the name of a model whose weights are shipped."""
    return load_with_header(name_or_path, device)[0]


def load_with_header(name_or_path: str | Path, device: torch.device | str = "cpu") -> tuple[Model, WeightsHeader]:
    """``load``, with what the weights file says about itself."""
    path = Path(name_or_path)
    if path.suffix == ".safetensors" or path.is_file():
        return read_model(path, device)
    if path.suffix or len(path.parts) > 1:
        raise PerceptionError(f"no file {path}", "a .safetensors file, or a model's name", "see `perception models`")
    entry(str(name_or_path))
    shipped = shipped_weights()
    if name_or_path not in shipped:
        raise PerceptionError(
            f"no weights of {name_or_path!r} come with the package",
            f"a path to a .safetensors file, or one of {', '.join(sorted(shipped)) or 'none yet'}",
            f"train it (tools/train.py) or import a checkpoint (perception import FILE --model {name_or_path})",
        )
    return read_model(shipped[str(name_or_path)], device)
