"""Names and conventions of CenterPoint's authors (det3d), and ours.

Their boxes are x y z, width, length, height, with a heading that is -ours - 90 degrees, predicted as (sin, cos). So of
the last layers: the log sizes' first two rows change places, and (cos, sin) of our heading is minus their (sin, cos):
cos(-t - 90 deg) = -sin t, sin(-t - 90 deg) = -cos t.
"""

from __future__ import annotations

import re

import torch.nn.functional as F
from torch import Tensor

from perception.io.importers.key_rules import Rules, Turned, reordered

BRANCHES = {
    "reg": "offset",
    "height": "height",
    "dim": "size",
    "rot": "rotation",
    "vel": "velocity",
    "hm": "heatmap",
}


width_and_length_swapped = reordered(1, 0, 2)


def one_by_one_transposed(weight: Tensor) -> Tensor:
    """An ordinary 1x1 convolution as the transposed one that ours is; wider ones shrink the map in both."""
    return weight.transpose(0, 1).contiguous() if weight.shape[-1] == 1 else weight


def without_height_of_centre(weight: Tensor) -> Tensor:
    """The first pillar layer (out, n + 5) with a column of zeros for the offset from the centre in z, that is ours."""
    return F.pad(weight, (0, 1))


def _half(kind: str, number: str) -> str:
    return f"{'first' if number == '1' else 'second'}.{'conv' if kind == 'conv' else 'norm'}"


def _block(match: re.Match[str]) -> str:
    """Residual blocks of stages 2 to 4 come after the three parts of a strided convolution."""
    return f"backbone.stage{match[1]}.{int(match[2]) - 2}.{_half(match[3], match[4])}."


_BRANCH = r"bbox_head\.tasks\.(\d+)\.(reg|height|dim|rot|vel|hm)\."


def _branch(match: re.Match[str]) -> str:
    return f"head.tasks.{match[1]}.{BRANCHES[match[2]]}."


DET3D: Rules = (
    (r"backbone\.conv_input\.0\.", "backbone.stem.conv."),
    (r"backbone\.conv_input\.1\.", "backbone.stem.norm."),
    (r"backbone\.conv1\.(\d)\.(conv|bn)([12])\.", lambda m: f"backbone.stage1.{m[1]}.{_half(m[2], m[3])}."),
    (r"backbone\.conv([234])\.0\.", r"backbone.stage\1.0.conv."),
    (r"backbone\.conv([234])\.1\.", r"backbone.stage\1.0.norm."),
    (r"backbone\.conv([234])\.(\d)\.(conv|bn)([12])\.", _block),
    (r"backbone\.extra_conv\.0\.", "backbone.out.conv."),
    (r"backbone\.extra_conv\.1\.", "backbone.out.norm."),
    Turned(r"reader\.pfn_layers\.0\.linear\.", "encoder.layers.0.linear.", without_height_of_centre),
    (r"reader\.pfn_layers\.", "encoder.layers."),
    # Their names number the padding layer in front of each block's first convolution; ours has none.
    (r"neck\.blocks\.(\d+)\.(\d+)\.", lambda m: f"bev.blocks.{m[1]}.{int(m[2]) - 1}."),
    Turned(r"neck\.deblocks\.(\d+)\.0\.", r"bev.ups.\1.0.", one_by_one_transposed),
    (r"neck\.deblocks\.", "bev.ups."),
    (r"bbox_head\.shared_conv\.", "head.shared."),
    Turned(r"bbox_head\.tasks\.(\d+)\.(dim)\.3\.", lambda m: _branch(m) + "3.", width_and_length_swapped),
    Turned(r"bbox_head\.tasks\.(\d+)\.(rot)\.3\.", lambda m: _branch(m) + "3.", Tensor.neg),
    (_BRANCH, _branch),
)


def _focal_part(match: re.Match[str]) -> str:
    return f"backbone.stage{match[1]}.{match[2]}.spread.{'conv' if match[3] == 'conv' else 'norm'}."


# Focals Conv's backbone keeps the parts of a strided convolution in a group of their own, and so counts otherwise.
DET3D_FOCAL: Rules = (
    (r"backbone\.(?:conv(?=1\.2)|conv(?=[23]\.3))(\d)\.(\d)\.(conv|bn1)\.", _focal_part),
    (r"backbone\.conv(\d)\.(\d)\.conv_enlarge\.0\.", r"backbone.stage\1.\2.enlarge.conv."),
    (r"backbone\.conv(\d)\.(\d)\.conv_enlarge\.1\.", r"backbone.stage\1.\2.enlarge.norm."),
    (r"backbone\.conv(\d)\.(\d)\.conv_imp\.", r"backbone.stage\1.\2.importance."),
    (r"backbone\.conv([234])\.0\.0\.", r"backbone.stage\1.0.conv."),
    (r"backbone\.conv([234])\.0\.1\.", r"backbone.stage\1.0.norm."),
    (
        r"backbone\.conv([234])\.(\d)\.(conv|bn)([12])\.",
        lambda m: f"backbone.stage{m[1]}.{m[2]}.{_half(m[3], m[4])}.",
    ),
    *DET3D,
)

FOREIGN_PARTS = (
    (r"bbox_head\.tasks\.\d+\.(feature_adapt|cls_head|task_head)", "a head with deformable convolutions (dcn_head)"),
    (r"(roi_head|second_stage|single_det)\.", "a second stage"),
    (r"(backbone\.(conv_focal|semseg)|network2d\.|fusion\.)", "det3d's Focals Conv with images of six cameras"),
)
"""Parts of det3d's models that nothing in our catalogue computes."""
