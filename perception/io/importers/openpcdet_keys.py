"""Official names of OpenPCDet's model parts and ours, by catalogue name.

A rule is a pattern of the official key's beginning and what replaces it: a template or a function of the match; the
first rule that fits is taken. ``Turned`` adds what must be done to the tensor itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Turned(NamedTuple):
    """A rule whose tensors are laid out otherwise than ours; ``convert`` makes ours of the official one."""

    pattern: str
    replacement: str | Callable[[re.Match[str]], str]
    convert: Callable[[Tensor], Tensor]


Rule = tuple[str, str | Callable[[re.Match[str]], str]] | Turned
Rules = tuple[Rule, ...]

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


def translate(key: str, rules: Rules) -> tuple[str, Callable[[Tensor], Tensor] | None]:
    """Our name of an official key and what to do to its tensor; a key that no rule knows stays as it is."""
    for pattern, replacement, *convert in rules:
        renamed, count = re.subn("^" + pattern, replacement, key)
        if count:
            return renamed, convert[0] if convert else None
    return key, None
