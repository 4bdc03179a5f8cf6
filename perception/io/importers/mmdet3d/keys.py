"""Names and conventions of mmdet3d 1.x, and ours. Its boxes are ours; its centre heads predict (sin, cos)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from torch import Tensor

from perception.io.importers.det3d.keys import one_by_one_transposed
from perception.io.importers.key_rules import Rules, Turned, reordered

BRANCHES = {
    "reg": "offset",
    "height": "height",
    "dim": "size",
    "rot": "rotation",
    "vel": "velocity",
    "heatmap": "heatmap",
}


def legacy_offsets(weight: Tensor) -> Tensor:
    """A pillar layer of mmdet3d's ``legacy`` form, whose points' own x y z are already the offsets from the centre.

    Columns: offset from the centre (3), further values, offset from the mean (3), offset from the centre again (3).
    Ours sees x y z in the first three, which it must then leave alone.
    """
    changed = weight.clone()
    changed[:, -3:] += weight[:, :3]
    changed[:, :3] = 0
    return changed


def rows_by_anchor(anchors: Sequence[int], within: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """Rows of values ``within`` each of the ``anchors``: value j of our anchor i is ``within[j]`` of ``anchors[i]``."""
    return reordered(*(anchor * len(within) + value for anchor in anchors for value in within))


def anchor_head(classes: Sequence[int], rotations: int) -> Rules:
    """``classes[i]`` is where the source has our class i; each has as many anchors as rotations."""
    anchors = [kind * rotations + turn for kind in classes for turn in range(rotations)]
    return (
        Turned(r"bbox_head\.conv_cls\.", "head.score.", rows_by_anchor(anchors, classes)),
        Turned(r"bbox_head\.conv_reg\.", "head.residual.", rows_by_anchor(anchors, range(7))),
        Turned(r"bbox_head\.conv_dir_cls\.", "head.direction.", rows_by_anchor(anchors, range(2))),
    )


def pillar_layers(name: str, legacy: bool) -> Rules:
    """``name`` is that of our first layer: the one layer of PointPillars, or the first of several."""
    first = r"(?:pts_)?voxel_encoder\.pfn_layers\.0\."
    rest = (first, name) if name == "encoder." else (r"(?:pts_)?voxel_encoder\.pfn_layers\.", "encoder.layers.")
    if legacy:
        return Turned(first + r"linear\.", name + "linear.", legacy_offsets), rest
    return (rest,)


def neck(conv_for_no_stride: bool) -> Rules:
    turned = Turned(r"(?:pts_)?neck\.deblocks\.(\d+)\.0\.", r"bev.ups.\1.0.", one_by_one_transposed)
    rest: Rules = ((r"(?:pts_)?backbone\.blocks\.", "bev.blocks."), (r"(?:pts_)?neck\.deblocks\.", "bev.ups."))
    return (turned, *rest) if conv_for_no_stride else rest


def _half(match: re.Match[str], kind: int) -> str:
    return f"{'first' if match[kind + 1] == '1' else 'second'}.{'conv' if match[kind] == 'conv' else 'norm'}"


_MIDDLE = r"(?:pts_)?middle_encoder\."
_LAYER = _MIDDLE + r"encoder_layers\.encoder_layer"
_ENDS: Rules = (
    (_MIDDLE + r"conv_input\.0\.", "backbone.stem.conv."),
    (_MIDDLE + r"conv_input\.1\.", "backbone.stem.norm."),
    (_MIDDLE + r"conv_out\.0\.", "backbone.out.conv."),
    (_MIDDLE + r"conv_out\.1\.", "backbone.out.norm."),
)
PLAIN_ENCODER: Rules = (
    *_ENDS,
    (_LAYER + r"(\d)\.(\d)\.0\.", r"backbone.stage\1.\2.conv."),
    (_LAYER + r"(\d)\.(\d)\.1\.", r"backbone.stage\1.\2.norm."),
)
# The strided convolution that begins a stage of ours ends the one before it there.
RESIDUAL_ENCODER: Rules = (
    *_ENDS,
    (_LAYER + r"1\.([01])\.(conv|bn)([12])\.", lambda m: f"backbone.stage1.{m[1]}.{_half(m, 2)}."),
    (
        _LAYER + r"([234])\.([01])\.(conv|bn)([12])\.",
        lambda m: f"backbone.stage{m[1]}.{int(m[2]) + 1}.{_half(m, 3)}.",
    ),
    (_LAYER + r"([123])\.2\.0\.", lambda m: f"backbone.stage{int(m[1]) + 1}.0.conv."),
    (_LAYER + r"([123])\.2\.1\.", lambda m: f"backbone.stage{int(m[1]) + 1}.0.norm."),
)
_TASK = r"pts_bbox_head\.task_heads\.(\d+)\.(reg|height|dim|rot|vel|heatmap)\."


def _branch(match: re.Match[str]) -> str:
    return f"head.tasks.{match[1]}.{BRANCHES[match[2]]}."


CENTRE_HEAD: Rules = (
    (r"pts_bbox_head\.shared_conv\.conv\.", "head.shared.0."),
    (r"pts_bbox_head\.shared_conv\.bn\.", "head.shared.1."),
    Turned(r"pts_bbox_head\.task_heads\.(\d+)\.(rot)\.1\.", lambda m: _branch(m) + "3.", reordered(1, 0)),
    (_TASK + r"0\.conv\.", lambda m: _branch(m) + "0."),
    (_TASK + r"0\.bn\.", lambda m: _branch(m) + "1."),
    (_TASK + r"1\.", lambda m: _branch(m) + "3."),
)
# Its convolutions before normalisations have no bias; ours of these two parts have, as OpenPCDet's.
ZERO_BIASES = re.compile(r"^(backbone\.stage\d\.\d\.(first|second)\.conv|head\.(shared|tasks\.\d+\.\w+)\.0)\.bias$")

FOREIGN_PARTS = (
    (r"pts_bbox_head\.task_heads\.\d+\.feature_adapt", "a head with deformable convolutions (DCNSeparateHead)"),
    (r"roi_head\.", "a second stage"),
    (r"img_|imgs_", "an image branch"),
    (r"(pts_)?neck\.(lateral_convs|fpn_convs)\.", "a feature pyramid (FPN) in place of SECONDFPN"),
)
"""Parts of mmdet3d's models that nothing in our catalogue computes."""
