"""Checkpoints of CenterPoint's authors (tianweiy/CenterPoint, det3d) and of forks of it that keep its voxel model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from perception.errors import PerceptionError
from perception.io.importers.det3d.keys import DET3D, DET3D_FOCAL, FOREIGN_PARTS
from perception.io.importers.foreign_config import ForeignConfig, our_names, two
from perception.io.importers.plan import Plan, configured, refuse_parts
from perception.io.importers.python_config import read_python_config
from perception.models.catalogue import entry

NAMES = (
    "centerpoint",
    "centerpoint-nuscenes-10cm",
    "centerpoint-nuscenes-pillars",
    "centerpoint-waymo",
    "centerpoint-waymo-pillars",
    "focals-centerpoint",
)
# Circle NMS looks at all that score above the threshold.
EVERY_CELL = 1_000_000
# As published, where they are not those of the catalogue's entry of that name.
_FAR = (-80.0, -80.0, -10.0, 80.0, 80.0, 10.0)
_NUSCENES: dict[str, Any] = {"selection": {"peaks": 1000}, "loss": {"codes": (1.0,) * 8 + (0.2, 0.2)}}
PUBLISHED: dict[str, dict[str, Any]] = {
    "centerpoint": _NUSCENES,
    "centerpoint-nuscenes-10cm": {**_NUSCENES, "max_voxels": (90_000, 120_000)},
    "centerpoint-nuscenes-pillars": {
        **_NUSCENES,
        "backbone": "hard_pillars",
        "max_points": 20,
        "max_voxels": (30_000, 60_000),
    },
    "centerpoint-waymo": {"max_voxels": (150_000, 200_000), "selection": {"peaks": 4096, "centre_range": _FAR}},
    "centerpoint-waymo-pillars": {"max_voxels": (32_000, 60_000), "selection": {"peaks": 4096}},
    "focals-centerpoint": {**_NUSCENES, "focal": {"merge": "doubled"}},
}
# Of a point after x y z, by how many values it has in all.
FIELDS: dict[str, dict[Any, tuple[str, ...]]] = {
    "waymo": {5: ("intensity", "elongation"), 6: ("intensity", "elongation", "time")},
    "nuscenes": {5: ("intensity", "time")},
}
FOCAL_NOTE = "proposals beside background cells as in spconv 2 on CPUs, on GPUs it varies (focal.merge = doubled)"
NOTE = "headings, sizes and the pillars' first layer turned from det3d's convention"


def published(name: str) -> Plan:
    """The plan of a checkpoint of the published configuration."""
    return _plan(name, configured(name, PUBLISHED.get(name, {}), name))


def _plan(name: str, config: Any, notes: tuple[str, ...] = ()) -> Plan:
    focal = name == "focals-centerpoint"
    return Plan(
        "det3d",
        name,
        config,
        DET3D_FOCAL if focal else DET3D,
        notes=(NOTE, *((FOCAL_NOTE,) if focal else ()), *notes),
    )


def plan(
    state: Mapping[str, Tensor], name: str | None, config: Path | None, where: str, extra: Mapping[str, Any]
) -> Plan:
    refuse_parts(state, FOREIGN_PARTS, where)
    if config is None:
        if name not in NAMES:
            raise PerceptionError(
                f"no det3d importer for {name!r}", f"one of {', '.join(NAMES)}, or --from det3d --config FILE"
            )
        return published(name)
    chosen, values, notes = read_config(ForeignConfig(read_python_config(config), str(config)))
    if name is not None and name != chosen:
        raise PerceptionError(f"{config} describes {chosen}", f"the configuration of {name}", "leave out --model")
    return _plan(chosen, configured(chosen, values, str(config)), notes)


def read_config(source: ForeignConfig) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """Our name, the values of our configuration and what is not as there, of a det3d configuration."""
    kind = source.expect("model.type", "VoxelNet", "PointPillars", "VoxelFocal")
    pillars = kind == "PointPillars"
    tasks = source.get("model.bbox_head.tasks", source.get("tasks", [])) or []
    heads = source.get("model.bbox_head.common_heads", {}) or {}
    name = _name(source, kind, [group["class_names"] for group in tasks])
    known = entry(name).defaults.tasks
    spelt = [cls for group in known for cls in group]
    values: dict[str, Any] = {
        "tasks": [our_names(group["class_names"], spelt) for group in tasks],
        "velocity": "vel" in heads,
        "point_fields": _point_fields(source),
        "point_range": source.numbers("voxel_generator.range", 6),
        "voxel_size": source.numbers("voxel_generator.voxel_size", 3),
        "max_points": source.get("voxel_generator.max_points_in_voxel"),
        "max_voxels": two(source.get("voxel_generator.max_voxel_num", 0)),
        "layers": source.get("model.neck.layer_nums"),
        "strides": source.get("model.neck.ds_layer_strides"),
        "filters": source.get("model.neck.ds_num_filters"),
        "up_strides": source.get("model.neck.us_layer_strides"),
        "up_filters": source.get("model.neck.us_num_filters"),
    }
    _check(source, kind, heads)
    if kind == "VoxelFocal":
        values["focal"] = _focal_options(source)
    if pillars:
        values |= {"backbone": "hard_pillars", "pillar_channels": source.get("model.reader.num_filters")}
        source.expect("model.reader.pc_range", values["point_range"], default=values["point_range"])
        source.expect("model.reader.voxel_size", values["voxel_size"], default=values["voxel_size"])
    values |= _selection_and_loss(source, "vel" in heads)
    source.check()
    return name, values, _notes(source)


def _notes(source: ForeignConfig) -> tuple[str, ...]:
    switches = {
        "double_flip": "one pass over the cloud, where there its three mirror images count too (double_flip)",
    }
    return tuple(note for switch, note in switches.items() if source.get(f"test_cfg.{switch}", False))


def _name(source: ForeignConfig, kind: Any, tasks: list[list[str]]) -> str:
    waymo, pillars = sum(map(len, tasks)) <= 3, kind == "PointPillars"
    if kind == "VoxelFocal":
        return "focals-centerpoint"
    if waymo:
        return "centerpoint-waymo-pillars" if pillars else "centerpoint-waymo"
    if pillars:
        return "centerpoint-nuscenes-pillars"
    coarse = source.numbers("voxel_generator.voxel_size", 3)[0] > 0.09
    return "centerpoint-nuscenes-10cm" if coarse else "centerpoint"


def _point_fields(source: ForeignConfig) -> tuple[str, ...]:
    wide = source.get("model.reader.num_input_features", 5)
    dataset = source.expect("model.bbox_head.dataset", *FIELDS, default="nuscenes")
    table = FIELDS.get(dataset, {})
    if wide not in table:
        source.refuse(f"model.reader.num_input_features = {wide!r} where points have {' or '.join(map(str, table))}")
    return table.get(wide, ())


def _focal_options(source: ForeignConfig) -> dict[str, Any]:
    """Of the backbone's options, with the defaults that they have there."""
    options = "model.backbone."
    for part in ("model.network2d", "model.fusion"):
        source.expect(part, None)
    source.expect(options + "USE_IMG", False, default=False)
    channels = source.get(options + "ENLARGE_VOXEL_CHANNELS", -1)
    return {
        "use_stages": source.get(options + "SPECIAL_CONV_LIST", []),
        "enlarge": channels if channels and channels > 0 else None,
        "threshold": source.get(options + "THRESHOLD", 0.5),
        "top": source.get(options + "TOPK", True),
        "mask": source.get(options + "MASK_MULTI", True),
        "merge": "doubled",
        "supervision": "none" if source.get(options + "SKIP_LOSS", False) else "around",
    }


def _check(source: ForeignConfig, kind: Any, heads: Mapping[str, Any]) -> None:
    if kind == "PointPillars":
        source.expect("model.reader.type", "PillarFeatureNet")
        source.expect("model.reader.with_distance", False, default=False)
        source.expect("model.reader.virtual", False, default=False)
        source.expect("model.backbone.type", "PointPillarsScatter")
    else:
        source.expect("model.reader.type", "VoxelFeatureExtractorV3")
        source.expect("model.backbone.type", "SpMiddleResNetFHD" + ("Focal" if kind == "VoxelFocal" else ""))
    source.expect("model.neck.type", "RPN")
    source.expect("model.bbox_head.type", "CenterHead")
    source.expect("model.bbox_head.dcn_head", False, default=False)
    source.expect("model.bbox_head.share_conv_channel", 64, default=64)
    source.expect("model.bbox_head.num_hm_conv", 2, default=2)
    source.expect("test_cfg.per_class_nms", False, default=False)
    for branch, shape in heads.items():
        wanted = {"reg": (2, 2), "height": (1, 2), "dim": (3, 2), "rot": (2, 2), "vel": (2, 2)}.get(branch)
        if wanted is None or tuple(shape) != wanted:
            source.refuse(f"model.bbox_head.common_heads.{branch} = {shape!r}")


def _selection_and_loss(source: ForeignConfig, velocity: bool) -> dict[str, Any]:
    rule = "test_cfg.nms."
    circles = bool(source.get("test_cfg.circular_nms", False))
    candidates = EVERY_CELL if circles else source.get(rule + "nms_pre_max_size", 1000)
    codes = source.get("model.bbox_head.code_weights", [1.0] * (10 if velocity else 8)) or []
    if velocity:  # theirs has the velocity before the heading, ours after it
        codes = [*codes[:6], *codes[8:10], *codes[6:8]]
    return {
        "selection": {
            "score_threshold": source.get("test_cfg.score_threshold", 0.1),
            "peaks": candidates,
            "centre_range": source.numbers("test_cfg.post_center_limit_range", 6),
            "suppression": [
                {
                    "overlap": source.get(rule + "nms_iou_threshold", 0.2),
                    "candidates": candidates,
                    "maximum": source.get(rule + "nms_post_max_size", 83),
                }
            ],
            # What is called a radius there is compared with squared distances.
            "radii": [math.sqrt(square) for square in source.get("test_cfg.min_radius", [])] if circles else None,
        },
        "loss": {"box": float(source.get("model.bbox_head.weight", 0.25)), "codes": codes},
    }
