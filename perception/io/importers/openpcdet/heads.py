"""OpenPCDet's detection heads as ours configures them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perception.io.importers.foreign_config import ForeignConfig

HEAD = "MODEL.DENSE_HEAD."
LOSSES = HEAD + "LOSS_CONFIG.LOSS_WEIGHTS."


def anchor_head(source: ForeignConfig, defaults: Any) -> dict[str, Any]:
    source.expect(HEAD + "CLASS_AGNOSTIC", False, default=False)
    source.expect(HEAD + "USE_DIRECTION_CLASSIFIER", True, default=True)
    source.expect(HEAD + "DIR_LIMIT_OFFSET", 0.0, default=0.0)
    source.expect(HEAD + "NUM_DIR_BINS", 2, default=2)
    source.expect(HEAD + "TARGET_ASSIGNER_CONFIG.BOX_CODER", "ResidualCoder", default="ResidualCoder")
    kinds = source.get(HEAD + "ANCHOR_GENERATOR_CONFIG", []) or []
    names = [kind.get("class_name") for kind in kinds]
    if names != source.get("CLASS_NAMES", []):
        source.refuse(f"anchors of {names} for the classes {source.get('CLASS_NAMES', [])}")
    centred = {bool(kind.get("align_center", False)) for kind in kinds}
    if len(centred) > 1:
        source.refuse("align_center differs between the classes")
    values = {
        "classes": [_anchors(source, kind) for kind in kinds],
        "centred_anchors": centred == {True},
        "direction_offset": source.get(HEAD + "DIR_OFFSET", 0.78539),
        "loss": {
            "classification": source.get(LOSSES + "cls_weight", 1.0),
            "location": source.get(LOSSES + "loc_weight", 2.0),
            "direction": source.get(LOSSES + "dir_weight", 0.2),
        },
    }
    source.expect(LOSSES + "code_weights", [1.0] * 7, default=[1.0] * 7)
    return values | final_selection(source)


def _anchors(source: ForeignConfig, kind: dict[str, Any]) -> dict[str, Any]:
    sizes, bottoms = kind.get("anchor_sizes", []), kind.get("anchor_bottom_heights", [])
    if len(sizes) != 1 or len(bottoms) != 1:
        source.refuse(
            f"{len(sizes)} sizes and {len(bottoms)} heights of anchors of {kind.get('class_name')}: ours is one"
        )
    return {
        "name": kind.get("class_name"),
        "size": sizes[0] if sizes else (),
        "bottom": bottoms[0] if bottoms else 0.0,
        "matched": kind.get("matched_threshold"),
        "unmatched": kind.get("unmatched_threshold"),
        "rotations": kind.get("anchor_rotations", [0, 1.57]),
    }


def final_selection(source: ForeignConfig) -> dict[str, Any]:
    """How the whole model's boxes are chosen, of one stage or two."""
    part = "MODEL.POST_PROCESSING."
    source.expect(part + "NMS_CONFIG.MULTI_CLASSES_NMS", False, default=False)
    source.expect(part + "NMS_CONFIG.NMS_TYPE", "nms_gpu", default="nms_gpu")
    source.expect(part + "OUTPUT_RAW_SCORE", False, default=False)
    return {
        "selection": {
            "score_threshold": source.get(part + "SCORE_THRESH", 0.1),
            "nms_overlap": source.get(part + "NMS_CONFIG.NMS_THRESH", 0.01),
            "candidates": source.get(part + "NMS_CONFIG.NMS_PRE_MAXSIZE", 4096),
            "maximum": source.get(part + "NMS_CONFIG.NMS_POST_MAXSIZE", 500),
        }
    }


def centre_head(source: ForeignConfig, defaults: Any) -> dict[str, Any]:
    tasks = source.get(HEAD + "CLASS_NAMES_EACH_HEAD", []) or []
    names = [name for task in tasks for name in task]
    if names != source.get("CLASS_NAMES", names):
        source.refuse(f"tasks of {names} for the classes {source.get('CLASS_NAMES', [])}")
    branches = source.get(HEAD + "SEPARATE_HEAD_CFG.HEAD_DICT", {}) or {}
    source.expect(HEAD + "NUM_HM_CONV", 2, default=2)
    for branch, shape in branches.items():
        if branch not in ("center", "center_z", "dim", "rot", "vel", "iou") or shape.get("num_conv") != 2:
            source.refuse(f"{HEAD}SEPARATE_HEAD_CFG.HEAD_DICT.{branch} = {shape!r}")
    # No shape tells this number: DSVT's is another than CenterPoint's, and each model here has its own built in.
    source.expect(HEAD + "BN_EPS", 1e-3 if hasattr(defaults, "stages") else 1e-5, default=1e-5)
    location = source.get(LOSSES + "loc_weight", 1.0)
    velocity, overlap = "vel" in branches, "iou" in branches
    values: dict[str, Any] = {
        "velocity": velocity,
        "overlap": overlap,
        "selection": _centre_selection(source, len(names), overlap),
        "loss": {
            "heatmap": source.get(LOSSES + "cls_weight", 1.0),
            "box": location,
            "codes": source.get(LOSSES + "code_weights", [1.0] * (10 if velocity else 8)),
            "distance_iou": location if overlap or source.get(HEAD + "IOU_REG_LOSS", False) else 0.0,
        },
    }
    if not hasattr(defaults, "tasks"):  # DSVT: one task of all classes, always with overlaps
        if len(tasks) != 1 or not overlap or velocity:
            source.refuse(f"{len(tasks)} tasks with {sorted(branches)} where ours has one with overlaps")
        return values | {"classes": names}
    if overlap and not hasattr(defaults, "overlap"):
        source.refuse(f"{HEAD}SEPARATE_HEAD_CFG.HEAD_DICT.iou, which this model has not")
    return values | {"tasks": tasks}


def _centre_selection(source: ForeignConfig, classes: int, overlap: bool) -> dict[str, Any]:
    part = HEAD + "POST_PROCESSING."
    source.expect(part + "NMS_CONFIG.NMS_TYPE", "nms_gpu", "class_specific_nms", "multi_class_nms", default="nms_gpu")
    rules = [
        source.get(part + "NMS_CONFIG." + key, usual)
        for key, usual in (("NMS_THRESH", 0.2), ("NMS_PRE_MAXSIZE", 1000), ("NMS_POST_MAXSIZE", 83))
    ]
    several = isinstance(rules[0], Sequence)
    if several and any(len(rule) != classes for rule in rules):
        source.refuse(f"{part}NMS_CONFIG has not one rule for each of {classes} classes")
    rows = zip(*rules) if several else [rules]
    rectifier = source.get(HEAD + "RECTIFIER", source.get(part + "IOU_RECTIFIER", None)) if overlap else None
    if rectifier is not None and not isinstance(rectifier, Sequence):
        rectifier = [rectifier] * classes
    return {
        "score_threshold": source.get(part + "SCORE_THRESH", 0.1),
        "peaks": source.get(part + "MAX_OBJ_PER_SAMPLE", 500),
        "centre_range": source.numbers(part + "POST_CENTER_LIMIT_RANGE", 6),
        "suppression": [dict(zip(("overlap", "candidates", "maximum"), row)) for row in rows],
        "rectifier": rectifier,
    }


def transfusion_head(source: ForeignConfig, defaults: Any) -> dict[str, Any]:
    """Queries and widths; the rest of the head is what the model's own configuration says."""
    head = {
        "queries": source.get(HEAD + "NUM_PROPOSALS", 200),
        "channels": source.get(HEAD + "HIDDEN_CHANNEL", 128),
        "heads": source.get(HEAD + "NUM_HEADS", 8),
        "feedforward": source.get(HEAD + "FFN_CHANNEL", 256),
        "dropout": source.get(HEAD + "DROPOUT", 0.1),
        "peak_window": source.get(HEAD + "NMS_KERNEL_SIZE", 3),
    }
    source.expect(HEAD + "ACTIVATION", "relu", default="relu")
    post = HEAD + "POST_PROCESSING."
    return {
        "classes": source.get("CLASS_NAMES"),
        "head": head,
        "selection": {
            "score_threshold": source.get(post + "SCORE_THRESH", 0.0),
            "centre_range": source.numbers(post + "POST_CENTER_RANGE", 6, defaults.selection.centre_range),
        },
        "loss": {
            "classification": source.get(LOSSES + "cls_weight", 1.0),
            "box": source.get(LOSSES + "bbox_weight", 0.25),
            "heatmap": source.get(LOSSES + "hm_weight", 1.0),
            "codes": source.get(LOSSES + "code_weights", list(defaults.loss.codes)),
        },
    }
