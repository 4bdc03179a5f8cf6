"""CenterPoint as mmdet3d configures it, in terms of ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perception.io.importers.foreign_config import ForeignConfig, our_names
from perception.io.importers.mmdet3d.anchors import point_fields, voxel_values
from perception.models.catalogue import entry

HEAD = "model.pts_bbox_head."
BRANCHES = {"reg": (2, 2), "height": (1, 2), "dim": (3, 2), "rot": (2, 2), "vel": (2, 2)}
RESIDUAL = {
    "encoder_channels": ((16, 16, 32), (32, 32, 64), (64, 64, 128), (128, 128)),
    "encoder_paddings": ((0, 0, 1), (0, 0, 1), (0, 0, (0, 1, 1)), (0, 0)),
}

PLAIN = {
    "encoder_channels": ((16,), (32, 32, 32), (64, 64, 64), (64, 64, 64)),
    "encoder_paddings": ((1,), (1, 1, 1), (1, 1, 1), ((0, 1, 1), 1, 1)),
}


@dataclass(frozen=True)
class CentreModel:
    """``values`` of our configuration ``name``."""

    name: str
    values: Mapping[str, Any]
    conv_for_no_stride: bool
    legacy_offsets: bool


def centre_values(source: ForeignConfig) -> CentreModel:
    pillars = source.get("model.pts_middle_encoder.type", "") == "PointPillarsScatter"
    values = voxel_values(source, pillars)
    legacy = _encoder(source, pillars, values)
    groups = source.get(HEAD + "tasks", []) or []
    tasks = [group["class_names"] for group in groups]
    name = _name(pillars, sum(map(len, tasks)), values["voxel_size"][0])
    spelt = [kind for task in entry(name).defaults.tasks for kind in task]
    heads = source.get(HEAD + "common_heads", {}) or {}
    values |= {"tasks": [our_names(task, spelt) for task in tasks], "velocity": "vel" in heads}
    _check_head(source, heads)
    values |= _selection_and_loss(source, "vel" in heads)
    return CentreModel(name, values, bool(source.get("model.pts_neck.use_conv_for_no_stride", False)), legacy)


def _encoder(source: ForeignConfig, pillars: bool, values: dict[str, Any]) -> bool:
    """Adds what concerns points and voxels to ``values``; whether the pillars' offsets are of the legacy form."""
    encoder, middle = "model.pts_voxel_encoder.", "model.pts_middle_encoder."
    source.expect(encoder + "type", "PillarFeatureNet" if pillars else "HardSimpleVFE")
    wide = source.get(encoder + ("in_channels" if pillars else "num_features"), 4)
    values["point_fields"] = point_fields(source, wide)
    if pillars:
        values |= {"backbone": "hard_pillars", "pillar_channels": source.get(encoder + "feat_channels", (64,))}
        source.expect(encoder + "with_distance", False, default=False)
        for option in ("with_cluster_center", "with_voxel_center"):
            source.expect(encoder + option, True, default=True)
        return bool(source.get(encoder + "legacy", True))
    residual = source.get(middle + "block_type", "conv_module") == "basicblock"
    values["backbone"] = "residual" if residual else "plain"
    for option, usual in PLAIN.items():
        source.expect(middle + option, RESIDUAL[option] if residual else usual, default=usual)
    return False


def _name(pillars: bool, classes: int, voxel: float) -> str:
    if classes <= 3:
        return "centerpoint-waymo-pillars" if pillars else "centerpoint-waymo"
    if pillars:
        return "centerpoint-nuscenes-pillars"
    return "centerpoint-nuscenes-10cm" if voxel > 0.09 else "centerpoint"


def _check_head(source: ForeignConfig, heads: Mapping[str, Any]) -> None:
    source.expect(HEAD + "type", "CenterHead")
    source.expect(HEAD + "share_conv_channel", 64, default=64)
    source.expect(HEAD + "norm_bbox", True, default=True)
    source.expect(HEAD + "separate_head.type", "SeparateHead", default="SeparateHead")
    source.expect(HEAD + "separate_head.final_kernel", 3)
    source.expect(HEAD + "bbox_coder.type", "CenterPointBBoxCoder", default="CenterPointBBoxCoder")
    source.expect("model.test_cfg.pts.max_pool_nms", False, default=False)
    for branch, shape in heads.items():
        if BRANCHES.get(branch) != tuple(shape):
            source.refuse(f"{HEAD}common_heads.{branch} = {shape!r}")


def _selection_and_loss(source: ForeignConfig, velocity: bool) -> dict[str, Any]:
    rule = "model.test_cfg.pts."
    circles = source.expect(rule + "nms_type", "rotate", "circle", default="rotate") == "circle"
    squares = source.get(rule + "min_radius", []) if circles else []
    return {
        "selection": {
            "score_threshold": source.get(HEAD + "bbox_coder.score_threshold", 0.1),
            "peaks": source.get(HEAD + "bbox_coder.max_num", 500),
            "centre_range": source.numbers(HEAD + "bbox_coder.post_center_range", 6),
            "suppression": [
                {
                    "overlap": source.get(rule + "nms_thr", 0.2),
                    "candidates": source.get(rule + "pre_max_size", 1000),
                    "maximum": source.get(rule + "post_max_size", 83),
                }
            ],
            # What is called a radius there is compared with squared distances.
            "radii": [math.sqrt(square) for square in squares] if circles else None,
        },
        "loss": {
            "box": source.get(HEAD + "loss_bbox.loss_weight", 0.25),
            "codes": source.get("model.train_cfg.pts.code_weights", [1.0] * (10 if velocity else 8)),
        },
    }
