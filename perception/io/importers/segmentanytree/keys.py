"""Names and layouts of SegmentAnyTree's checkpoints (torch-points3d modules on MinkowskiEngine), and ours."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import Tensor

from perception.io.importers.key_rules import Rules, Turned

UNUSED = re.compile(r"Scorer(Encoder|MLP)\.")
"""Parts that the published model builds for other kinds of scoring and never calls."""


def sparse_kernel(kernel: Tensor) -> Tensor:
    """MinkowskiEngine's (taps, in, out), x fastest among the taps, as ours, (out, kz, ky, kx, in)."""
    size = round(len(kernel) ** (1 / 3))
    return kernel.reshape(size, size, size, *kernel.shape[1:]).permute(4, 0, 1, 2, 3).contiguous()


def pointwise_kernel(kernel: Tensor) -> Tensor:
    """A kernel of one cell, (in, out), as a linear layer's (out, in)."""
    return kernel.T.contiguous()


def _unet(theirs: str, ours: str) -> Rules:
    def named(end: str) -> Callable[[re.Match[str]], str]:
        return lambda match: match.expand(rf"{ours}.\1s.\2.") + match.expand(end)

    def block(end: str) -> Callable[[re.Match[str]], str]:
        name = {"0": "first", "1": "first", "3": "second", "4": "second"}
        return lambda match: match.expand(rf"{ours}.\1s.\2.blocks.\3.") + name[match[4]] + end

    module = rf"{theirs}\.(down|up)_modules\.(\d+)\."
    inside = rf"{module}blocks\.(\d+)\."
    return (
        Turned(rf"{module}conv_in\.0\.kernel", named("enter.conv.weight"), sparse_kernel),
        (rf"{module}conv_in\.1\.bn\.", named("enter.norm.")),
        Turned(rf"{inside}block\.(0|3)\.kernel", block(".conv.weight"), sparse_kernel),
        (rf"{inside}block\.(1|4)\.bn\.", block(".norm.")),
        Turned(rf"{inside}downsample\.0\.kernel", named(r"blocks.\3.shortcut.linear.weight"), pointwise_kernel),
        (rf"{inside}downsample\.1\.bn\.", named(r"blocks.\3.shortcut.norm.")),
    )


def _head(theirs: str, ours: str) -> Rules:
    return (
        (rf"{theirs}\.0\.0\.0\.", f"voxel_heads.{ours}.hidden."),
        (rf"{theirs}\.0\.0\.1\.batch_norm\.", f"voxel_heads.{ours}.norm."),
        (rf"{theirs}\.1\.", f"voxel_heads.{ours}.out."),
    )


SEGMENTANYTREE: Rules = (
    *_unet("Backbone", "backbone"),
    *_unet("ScorerUnet", "score.unet"),
    *_head("Semantic", "semantic"),
    *_head("Offset", "offset"),
    *_head("Embed", "embedding"),
    (r"ScorerHead\.0\.", "score.out."),
)
