"""Checkpoints of OpenPCDet (model_state under official names, spconv 1.x or 2.x weight layout)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from perception.errors import PerceptionError
from perception.io.importers.focal_keys import UNUSED_IMAGE_LAYERS
from perception.io.importers.openpcdet_keys import RULES, translate
from perception.io.weights import load_strictly

UNUSED = ("global_step",)


@dataclass(frozen=True)
class ImportReport:
    """What became of each key of a checkpoint: ``mapped`` official -> ours, ``permuted`` spconv 1.x, ``unused``."""

    mapped: Mapping[str, str]
    permuted: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The model's tensors in a checkpoint file, opened without running any code in it."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise PerceptionError(f"no file {path}", "an OpenPCDet checkpoint (.pth)") from None
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise PerceptionError(
            f"{path} cannot be opened as a checkpoint: {reason}", "a file that torch.save wrote", "download it again"
        ) from None
    state = content.get("model_state", content.get("state_dict", content)) if isinstance(content, Mapping) else None
    tensors = {key: value for key, value in (state or {}).items() if isinstance(value, Tensor)}
    if not tensors:
        raise PerceptionError(f"{path} holds no tensors under model_state", "an OpenPCDet checkpoint")
    return tensors


def load_official(model: nn.Module, name: str, state: Mapping[str, Tensor], where: str = "checkpoint") -> ImportReport:
    """Load official tensors into the model of that catalogue name, strictly."""
    if name not in RULES:
        raise PerceptionError(f"no OpenPCDet importer for {name!r}", f"one of {', '.join(sorted(RULES))}")
    unused = tuple(key for key in state if _unused(key))
    wanted = model.state_dict()
    mapped, tensors, permuted = {}, {}, []
    for official, tensor in state.items():
        if _unused(official):
            continue
        ours, convert = translate(official, RULES[name])
        mapped[official] = ours
        if ours in wanted and tensor.shape != wanted[ours].shape and tensor.ndim == 5:
            turned = tensor.permute(4, 0, 1, 2, 3)  # spconv 1.x: (kz, ky, kx, in, out)
            if turned.shape == wanted[ours].shape:
                tensor = turned.contiguous()
                permuted.append(official)
        tensors[ours] = tensor if convert is None else convert(tensor)
    load_strictly(model, tensors, where)
    return ImportReport(mapped, tuple(permuted), unused)


def _unused(key: str) -> bool:
    return key in UNUSED or UNUSED_IMAGE_LAYERS.match(key) is not None
