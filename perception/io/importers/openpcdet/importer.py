"""Checkpoints of OpenPCDet (model_state under official names, spconv 1.x or 2.x weight layout)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from perception.errors import PerceptionError
from perception.io.importers.checkpoint import open_checkpoint
from perception.io.importers.conversion import ImportReport, load_translated
from perception.io.importers.focal_keys import UNUSED_IMAGE_LAYERS
from perception.io.importers.openpcdet.keys import RULES

__all__ = ["ImportReport", "load_official", "read_checkpoint"]

UNUSED = ("global_step",)


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The model's tensors in a checkpoint file, opened without running any code in it."""
    return dict(open_checkpoint(path).tensors)


def load_official(model: nn.Module, name: str, state: Mapping[str, Tensor], where: str = "checkpoint") -> ImportReport:
    """Load official tensors into the model of that catalogue name, strictly."""
    if name not in RULES:
        raise PerceptionError(f"no OpenPCDet importer for {name!r}", f"one of {', '.join(sorted(RULES))}")
    return load_translated(model, state, RULES[name], where, unused=is_unused)


def is_unused(key: str) -> bool:
    return key in UNUSED or UNUSED_IMAGE_LAYERS.match(key) is not None
