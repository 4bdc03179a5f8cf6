"""From a name or a path to a model that is ready to use."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch

from perception.errors import PerceptionError
from perception.io.weights import Card, WeightsHeader, read_model
from perception.models.catalogue import MODELS, entry
from perception.models.model import Model

MANIFEST = "export.json"


def shipped_weights() -> dict[str, Path]:
    """Weights that come with the package: catalogue name -> file."""
    folder = Path(str(files("perception"))) / "weights"
    return {name: folder / f"{name}.safetensors" for name in MODELS if (folder / f"{name}.safetensors").is_file()}


def load(name_or_path: str | Path, device: torch.device | str = "cpu") -> Model:
    """A model in eval mode, from a weights file, an exported folder, or the name of a model with shipped weights."""
    return load_with_header(name_or_path, device)[0]


def load_with_header(name_or_path: str | Path, device: torch.device | str = "cpu") -> tuple[Model, WeightsHeader]:
    """``load``, with what the weights file says about itself."""
    path = Path(name_or_path)
    if (path / MANIFEST).is_file() or path.name == MANIFEST:
        return _load_export(path, device)
    if path.suffix == ".safetensors" or path.is_file():
        return read_model(path, device)
    if path.suffix or len(path.parts) > 1:
        expected = "a .safetensors file, a folder that `perception export` wrote, or a model's name"
        raise PerceptionError(f"no file {path}", expected, "see `perception models`")
    entry(str(name_or_path))
    shipped = shipped_weights()
    if name_or_path not in shipped:
        raise PerceptionError(
            f"no weights of {name_or_path!r} come with the package",
            f"a path to a .safetensors file, or one of {', '.join(sorted(shipped)) or 'none yet'}",
            f"train it (tools/train.py) or import a checkpoint (perception import FILE --model {name_or_path})",
        )
    return read_model(shipped[str(name_or_path)], device)


def _load_export(path: Path, device: torch.device | str) -> tuple[Model, WeightsHeader]:
    from perception.export.runner import load_export

    model = load_export(path, device)
    about = model.manifest
    return model, WeightsHeader(about.model, {}, about.classes, Card(about.trained_on, about.licence))
