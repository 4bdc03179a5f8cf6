"""Weights of a model as one safetensors file whose header says what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from perception.config import merge, to_plain
from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.models.catalogue import entry
from perception.models.model import Model

FORMAT = "lidar-perception/1"


@dataclass(frozen=True)
class Card:
    """Where weights come from. ``trained_on`` and ``licence`` are never empty in files that the library ships."""

    trained_on: str = "unknown"
    licence: str = "unknown"
    source: str = ""
    command: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    limits: str = ""


@dataclass(frozen=True)
class WeightsHeader:
    """``model`` is a catalogue name, ``config`` the plain values its configuration is made from."""

    model: str
    config: Mapping[str, Any]
    classes: tuple[str, ...]
    card: Card


def save_weights(path: str | Path, name: str, model: Model, card: Card, half: bool = False) -> None:
    """Write the model's parameters and buffers with its catalogue name, configuration and card; atomic.

    ``half`` stores matrices of float32 as float16, for small files; they are float32 again when a model loads them.
    """
    header = {
        "format": FORMAT,
        "model": name,
        "config": json.dumps(to_plain(model.config)),
        "classes": json.dumps(list(model.classes)),
        "card": json.dumps(asdict(card)),
    }
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    if half:
        tensors = {key: value.half() if _is_matrix(value) else value for key, value in tensors.items()}
    with write_atomically(path, "wb") as file:
        file.write(save(tensors, metadata=header))


def _is_matrix(value: Tensor) -> bool:
    """Statistics and biases are few, and may be beyond what 16 bits hold."""
    return value.dtype == torch.float32 and value.ndim > 1 and bool(value.abs().max() < 6e4 if value.numel() else True)


def read_header(path: str | Path) -> WeightsHeader:
    """What a weights file says about itself, without reading its tensors."""
    with _open(Path(path)) as file:
        found = file.metadata() or {}
    if found.get("format") != FORMAT:
        raise PerceptionError(
            f"{path} is a safetensors file with the header {sorted(found)}",
            f"a header with format {FORMAT!r}",
            "make it with tools/train.py or `perception import`",
        )
    try:
        card = Card(**json.loads(found["card"]))
        return WeightsHeader(found["model"], json.loads(found["config"]), tuple(json.loads(found["classes"])), card)
    except (KeyError, TypeError, ValueError) as error:
        raise PerceptionError(f"{path} has a damaged header: {error!r}", "model, config, classes and card") from None


def read_tensors(path: str | Path) -> tuple[WeightsHeader, dict[str, Tensor]]:
    """What a weights file says about itself, and its tensors by key."""
    header = read_header(path)
    with _open(Path(path)) as file:
        return header, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)


def read_model(path: str | Path, device: torch.device | str = "cpu") -> tuple[Model, WeightsHeader]:
    """Build the model that a weights file names and load its tensors, strictly; in eval mode."""
    header, tensors = read_tensors(path)
    chosen = entry(header.model)
    model = chosen.make(merge(chosen.defaults, header.config, str(path)))
    load_strictly(model, tensors, str(path))
    return model.to(device).eval(), header


def load_strictly(
    model: nn.Module, tensors: Mapping[str, Tensor], where: str, origin: Mapping[str, str] | None = None
) -> None:
    """Load a state dict; every missing, spare or misshapen key is an error that names it, and where it comes from."""
    wanted = model.state_dict()
    problems = [f"missing {key} {tuple(value.shape)}" for key, value in wanted.items() if key not in tensors]
    for key, value in tensors.items():
        if key not in wanted:
            problems.append(f"spare {key} {tuple(value.shape)}{_from(key, origin)}")
        elif value.shape != wanted[key].shape:
            problems.append(f"{key} {tuple(value.shape)} instead of {tuple(wanted[key].shape)}{_from(key, origin)}")
    if problems:
        shown = "; ".join(problems[:6]) + (f"; and {len(problems) - 6} more" if len(problems) > 6 else "")
        raise PerceptionError(
            f"{where} does not fit {type(model).__name__}: {shown}",
            "exactly the keys and shapes of the model",
            "check the model's name, its classes and its configuration",
        )
    model.load_state_dict(dict(tensors))


def _from(key: str, origin: Mapping[str, str] | None) -> str:
    source = (origin or {}).get(key, key)
    return f" from {source}" if source != key else ""


def _open(path: Path) -> Any:
    if not path.is_file():
        raise PerceptionError(f"no file {path}", "a .safetensors file", "`perception models` lists what there is")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise PerceptionError(f"{path} is no readable safetensors file: {error}", "an undamaged weights file") from None
