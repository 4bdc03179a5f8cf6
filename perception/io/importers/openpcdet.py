"""Checkpoints of OpenPCDet (model_state under official names, spconv 1.x or 2.x weight layout)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from perception.errors import PerceptionError
from perception.io.weights import load_strictly

Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]

# Official names number the padding layer in front of each block's first convolution; ours has none.
BEV: Rules = (
    (r"backbone_2d\.blocks\.(\d+)\.(\d+)\.", lambda m: f"bev.blocks.{m[1]}.{int(m[2]) - 1}."),
    (r"backbone_2d\.deblocks\.", "bev.ups."),
)
ANCHOR_HEAD: Rules = (
    (r"dense_head\.conv_cls\.", "head.score."),
    (r"dense_head\.conv_box\.", "head.residual."),
    (r"dense_head\.conv_dir_cls\.", "head.direction."),
)
SPARSE_ENCODER: Rules = (
    (r"backbone_3d\.conv_input\.0\.", "backbone.stem.conv."),
    (r"backbone_3d\.conv_input\.1\.", "backbone.stem.norm."),
    (r"backbone_3d\.conv_out\.0\.", "backbone.out.conv."),
    (r"backbone_3d\.conv_out\.1\.", "backbone.out.norm."),
    (r"backbone_3d\.conv(\d)\.(\d)\.0\.", r"backbone.stage\1.\2.conv."),
    (r"backbone_3d\.conv(\d)\.(\d)\.1\.", r"backbone.stage\1.\2.norm."),
)
PILLAR_ENCODER: Rules = ((r"vfe\.pfn_layers\.0\.", "encoder."),)

RULES: dict[str, Rules] = {
    "second": SPARSE_ENCODER + BEV + ANCHOR_HEAD,
    "pointpillars": PILLAR_ENCODER + BEV + ANCHOR_HEAD,
}
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
    unused = tuple(key for key in state if key in UNUSED)
    mapped = {key: _rename(key, RULES[name]) for key in state if key not in UNUSED}
    wanted = model.state_dict()
    tensors, permuted = {}, []
    for official, ours in mapped.items():
        tensor = state[official]
        if ours in wanted and tensor.shape != wanted[ours].shape and tensor.ndim == 5:
            turned = tensor.permute(4, 0, 1, 2, 3)  # spconv 1.x: (kz, ky, kx, in, out)
            if turned.shape == wanted[ours].shape:
                tensor = turned.contiguous()
                permuted.append(official)
        tensors[ours] = tensor
    load_strictly(model, tensors, where)
    return ImportReport(mapped, tuple(permuted), unused)


def _rename(key: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        renamed, count = re.subn("^" + pattern, replacement, key)
        if count:
            return renamed
    return key
