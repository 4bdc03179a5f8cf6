"""Checkpoints of TreeLearn (ecker-lab/TreeLearn): tensors under ``net``, spconv 2 with axes in the order x y z."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from perception.config import merge, read_yaml
from perception.errors import PerceptionError
from perception.io.importers.key_rules import Rules, Turned
from perception.io.importers.plan import Plan, configured

NAMES = ("treelearn",)
BRANCH = {"0": "before_first.norm.", "2": "first.", "3": "before_second.norm.", "5": "second."}
LINEAR = {"0": "hidden.", "1": "norm.", "3": "out."}


def sparse_kernel(weight: Tensor) -> Tensor:
    """Its coordinates are x y z, so its kernels are (out, kx, ky, kz, in); ours (out, kz, ky, kx, in)."""
    return weight.permute(0, 3, 2, 1, 4).contiguous()


def pointwise_kernel(weight: Tensor) -> Tensor:
    """A kernel of one cell, which its own layer reads as (out, in)."""
    return weight.reshape(weight.shape[0], weight.shape[-1])


def _level(match: re.Match[str]) -> int:
    return match[1].count("u.")


def _block(end: str) -> Callable[[re.Match[str]], str]:
    """A block before or behind the coarser grids, of the level that the nesting tells."""

    def named(match: re.Match[str]) -> str:
        part = f"levels.{_level(match)}" if match[2] == "blocks" else f"steps.{_level(match)}.tail"
        return f"backbone.{part}.{match[3]}.{end or BRANCH[match[4]]}"

    return named


def _step(end: str) -> Callable[[re.Match[str]], str]:
    return lambda match: f"backbone.steps.{_level(match)}.{end}"


_BLOCK = r"unet\.((?:u\.)*)(blocks|blocks_tail)\.block(\d)\."
TREELEARN: Rules = (
    Turned(r"input_conv\.0\.weight", "stem.weight", sparse_kernel),
    Turned(rf"{_BLOCK}i_branch\.0\.weight", _block("shortcut.weight"), pointwise_kernel),
    Turned(rf"{_BLOCK}conv_branch\.(2|5)\.(?=weight)", _block(""), sparse_kernel),
    (rf"{_BLOCK}conv_branch\.(0|3)\.", _block("")),
    Turned(r"unet\.((?:u\.)*)conv\.2\.(?=weight)", _step("down."), sparse_kernel),
    Turned(r"unet\.((?:u\.)*)deconv\.2\.(?=weight)", _step("up."), sparse_kernel),
    (r"unet\.((?:u\.)*)conv\.0\.", _step("before_down.norm.")),
    (r"unet\.((?:u\.)*)deconv\.0\.", _step("before_up.norm.")),
    (r"output_layer\.0\.", "finish.norm."),
    (r"semantic_linear\.(0|1|3)\.", lambda match: f"semantic.{LINEAR[match[1]]}"),
    (r"offset_linear\.(0|1|3)\.", lambda match: f"offset.{LINEAR[match[1]]}"),
)


def plan(
    state: Mapping[str, Tensor], name: str | None, config: Path | None, where: str, meta: Mapping[str, Any]
) -> Plan:
    """Channels and inputs are read from the tensors; ``config``: a YAML of changes to our configuration."""
    if name is not None and name not in NAMES:
        raise PerceptionError(f"no TreeLearn importer for {name!r}", f"one of {', '.join(NAMES)}")
    stem = state.get("input_conv.0.weight")
    if stem is None or stem.ndim != 5:
        raise PerceptionError(f"{where} has no input_conv.0.weight", "a checkpoint of TreeLearn")
    levels = max([1, *(1 + len(re.findall(r"\bu\.", key)) for key in state if key.startswith("unet."))])
    values = {"inputs": int(stem.shape[-1]), "channels": int(stem.shape[0]), "levels": levels}
    made = configured(NAMES[0], values, where)
    if config is not None:
        made = merge(made, read_yaml(config), str(config))
    notes = ("voxel size and grouping are taken to be as published: the checkpoint does not tell",)
    return Plan("treelearn", NAMES[0], made, TREELEARN, notes=notes)
