"""Official names of VoxelNeXt's head and of what its backbone has beyond the residual one."""

from __future__ import annotations

import re

from torch import Tensor

from perception.io.importers.key_rules import Rules, Turned

BRANCHES = {
    "center": "offset",
    "center_z": "height",
    "dim": "size",
    "rot": "rotation",
    "vel": "velocity",
    "iou": "overlap",
    "hm": "heatmap",
    "loc_x": "x",
    "loc_y": "y",
    "loc_z": "z",
    "kp_vis": "visibility",
}
HEAD = r"dense_head\.heads_list\.(\d+)\.(\w+)\."


def branch(match: re.Match[str]) -> str:
    return f"head.tasks.{match[1]}.{BRANCHES[match[2]]}."


def pointwise(weight: Tensor) -> Tensor:
    """The matrix (out, in) of a sparse convolution of kernel 1, whose memory spconv reads as (in, out)."""
    return weight.reshape(weight.shape[-1], weight.shape[0]).T.contiguous()


_REST: Rules = (
    (HEAD + r"0\.1\.", lambda m: branch(m) + "hidden.norm."),
    Turned(HEAD + r"1\.weight", lambda m: branch(m) + "out.weight", pointwise),
    (HEAD + r"1\.bias", lambda m: branch(m) + "out.bias"),
)
POINTWISE_HEAD: Rules = (
    Turned(HEAD + r"0\.0\.weight", lambda m: branch(m) + "hidden.linear.weight", pointwise),
    (HEAD + r"0\.0\.bias", lambda m: branch(m) + "hidden.linear.bias"),
    *_REST,
)
KERNEL_3_HEAD: Rules = ((HEAD + r"0\.0\.", lambda m: branch(m) + "hidden.conv."), *_REST)
SHARED: Rules = (
    (r"backbone_3d\.shared_conv\.0\.", "backbone.shared.conv."),
    (r"backbone_3d\.shared_conv\.1\.", "backbone.shared.norm."),
)
