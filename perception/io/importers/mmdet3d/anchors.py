"""SECOND and PointPillars as mmdet3d configures them, in terms of our anchor detectors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perception.io.importers.foreign_config import ForeignConfig, our_names, two
from perception.models.detector import KITTI_CLASSES

KITTI_ORDER = ("Pedestrian", "Cyclist", "Car")
HEAD = "model.bbox_head."
GENERATOR = HEAD + "anchor_generator."


@dataclass(frozen=True)
class AnchorModel:
    """``values`` of our configuration ``name``; ``order[i]`` is where the source has our class i."""

    name: str
    values: Mapping[str, Any]
    order: tuple[int, ...]
    rotations: int
    conv_for_no_stride: bool
    legacy_offsets: bool


def voxel_values(source: ForeignConfig, pillars: bool) -> dict[str, Any]:
    """What all models have: range, voxels and the backbone of the map; checks of what ours always has."""
    new, old = "model.data_preprocessor.voxel_layer", "model.voxel_layer"
    layer = (
        new if source.get(new, None) else next((p for p in (old, "model.pts_voxel_layer") if source.get(p, None)), new)
    )
    pts = "pts_" if source.get("model.type") == "CenterPoint" else ""
    backbone, neck = f"model.{pts}backbone.", f"model.{pts}neck."
    source.expect(backbone + "type", "SECOND")
    source.expect(neck + "type", "SECONDFPN")
    source.expect("model.data_preprocessor.voxel_type", "hard", default="hard")
    source.expect(f"model.{pts}middle_encoder.type", "PointPillarsScatter" if pillars else "SparseEncoder")
    return {
        "point_range": source.numbers(layer + ".point_cloud_range", 6),
        "voxel_size": source.numbers(layer + ".voxel_size", 3),
        "max_points": source.get(layer + ".max_num_points"),
        "max_voxels": two(source.get(layer + ".max_voxels", 0)),
        "layers": source.get(backbone + "layer_nums"),
        "strides": source.get(backbone + "layer_strides"),
        "filters": source.get(backbone + "out_channels"),
        "up_strides": source.get(neck + "upsample_strides"),
        "up_filters": source.get(neck + "out_channels"),
    }


def point_fields(source: ForeignConfig, wide: Any) -> tuple[str, ...]:
    """Names of a point's ``wide`` values after x y z; the fifth is Waymo's elongation, elsewhere the sweep's time."""
    fifth = "elongation" if source.get("dataset_type", "") == "WaymoDataset" else "time"
    table: dict[Any, tuple[str, ...]] = {3: (), 4: ("intensity",), 5: ("intensity", fifth)}
    if wide not in table:
        source.refuse(f"{wide} values a point")
    return table.get(wide, ())


def anchor_values(source: ForeignConfig) -> AnchorModel:
    pillars = source.get("model.middle_encoder.type", "") == "PointPillarsScatter"
    values = voxel_values(source, pillars)
    encoder = "model.voxel_encoder."
    kind = source.expect(encoder + "type", *(("PillarFeatureNet",) if pillars else ("HardSimpleVFE",)))
    wide = source.get(encoder + "in_channels" if pillars else "model.middle_encoder.in_channels", 4)
    values["point_fields"] = point_fields(source, wide)
    if kind == "PillarFeatureNet":
        values["encoder_channels"] = _single(source, encoder + "feat_channels")
        source.expect(encoder + "with_distance", False, default=False)
        for option in ("with_cluster_center", "with_voxel_center"):
            source.expect(encoder + option, True, default=True)
    elif not pillars:
        source.expect("model.middle_encoder.block_type", "conv_module", default="conv_module")
    source.expect(HEAD + "type", "Anchor3DHead")
    source.expect(HEAD + "use_direction_classifier", True, default=True)
    source.expect(HEAD + "dir_limit_offset", 0, default=0)
    source.expect(HEAD + "bbox_coder.type", "DeltaXYZWLHRBBoxCoder", default="DeltaXYZWLHRBBoxCoder")
    aligned = "AlignedAnchor3DRangeGenerator"
    values["centred_anchors"] = source.expect(GENERATOR + "type", "Anchor3DRangeGenerator", aligned) == aligned
    source.expect(GENERATOR + "align_corner", False, default=False)
    values["direction_offset"] = source.get(HEAD + "dir_offset", -math.pi / 2)
    names, classes = _classes(source, values["point_range"])
    order = _our_order(names)
    values["classes"] = [classes[index] for index in order]
    values |= _selection(source)
    return AnchorModel(
        "pointpillars" if pillars else "second",
        values,
        order,
        len(source.get(GENERATOR + "rotations", [0, 1.57])),
        bool(source.get("model.neck.use_conv_for_no_stride", False)),
        bool(source.get(encoder + "legacy", True)) if pillars else False,
    )


def _single(source: ForeignConfig, path: str) -> int:
    channels = source.get(path, [64])
    if not isinstance(channels, list | tuple) or len(channels) != 1:
        source.refuse(f"{path} = {channels!r} where PointPillars has one layer")
        return 64
    return int(channels[0])


def _classes(source: ForeignConfig, point_range: Sequence[float]) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """The source's class names, and its anchors as our classes, in its order."""
    source.expect(GENERATOR + "scales", [1], default=[1])
    source.expect(GENERATOR + "custom_values", (), [], default=())
    sizes, ranges = source.get(GENERATOR + "sizes", []), source.get(GENERATOR + "ranges", [])
    names = _names(source, len(sizes))
    if not len(sizes) == len(ranges) == len(names) == source.get(HEAD + "num_classes", len(sizes)):
        source.refuse(
            f"{len(ranges)} anchor ranges and {len(sizes)} sizes for {len(names)} classes: one a class is ours"
        )
    source.check()
    rotations = source.get(GENERATOR + "rotations", [0, 1.57])
    rules = source.get("model.train_cfg.assigner", None) or {}
    rules = [rules] * len(names) if isinstance(rules, Mapping) else rules
    made = []
    for name, size, reach, rule in zip(names, sizes, ranges, rules):
        place = [reach[0], reach[1], reach[3], reach[4]]
        if any(abs(a - b) > 1e-6 for a, b in zip(place, [*point_range[:2], *point_range[3:5]])):
            source.refuse(f"anchors of {name} lie in {place} where ours fill the point range")
        if reach[2] != reach[5]:
            source.refuse(f"anchors of {name} from z {reach[2]} to {reach[5]} where ours have one height")
        known = next((kind for kind in KITTI_CLASSES if kind.name == name), KITTI_CLASSES[0])
        matched, unmatched = rule.get("pos_iou_thr", known.matched), rule.get("neg_iou_thr", known.unmatched)
        made.append(
            {
                "name": name,
                "size": size,
                "bottom": reach[2],
                "matched": matched,
                "unmatched": unmatched,
                "rotations": rotations,
            }
        )
    return names, made


def _names(source: ForeignConfig, count: int) -> tuple[str, ...]:
    found = source.get("class_names", None) or source.get("metainfo.classes", None) or source.get("classes", None)
    if found is None:
        found = KITTI_ORDER if count == 3 else ("Car",) if count == 1 else [f"class {i}" for i in range(count)]
    return our_names(found, [kind.name for kind in KITTI_CLASSES])


def _our_order(names: Sequence[str]) -> tuple[int, ...]:
    """KITTI's classes in the catalogue's order, other sets as they are."""
    ours = [kind.name for kind in KITTI_CLASSES]
    return tuple(sorted(range(len(names)), key=lambda i: ours.index(names[i]) if set(names) <= set(ours) else i))


def _selection(source: ForeignConfig) -> dict[str, Any]:
    rule = "model.test_cfg."
    source.expect(rule + "use_rotate_nms", True, default=True)
    return {
        "selection": {
            "score_threshold": source.get(rule + "score_thr", 0.1),
            "nms_overlap": source.get(rule + "nms_thr", 0.01),
            "candidates": source.get(rule + "nms_pre", 100),
            "maximum": source.get(rule + "max_num", 50),
            "class_by_class": True,
        }
    }
