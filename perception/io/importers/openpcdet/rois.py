"""OpenPCDet's second stages as ours configures them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perception.io.importers.foreign_config import ForeignConfig

ROI = "MODEL.ROI_HEAD."
POOL = ROI + "ROI_GRID_POOL."
KEYPOINTS = "MODEL.PFE."


def second_stage(source: ForeignConfig, defaults: Any) -> dict[str, Any]:
    source.expect(ROI + "CLASS_AGNOSTIC", True, default=True)
    source.expect(POOL + "POOL_METHOD", "max_pool", default="max_pool")
    target = ROI + "TARGET_CONFIG."
    values: dict[str, Any] = {
        "proposals_training": _proposals(source, "TRAIN"),
        "proposals": _proposals(source, "TEST"),
        "grid_size": source.get(POOL + "GRID_SIZE", 6),
        "refine": {
            "shared": source.get(ROI + "SHARED_FC"),
            "score": source.get(ROI + "CLS_FC"),
            "residual": source.get(ROI + "REG_FC"),
            "dropout": source.get(ROI + "DP_RATIO", 0.3),
        },
        "sampling": {
            "number": source.get(target + "ROI_PER_IMAGE", 128),
            "foreground_share": source.get(target + "FG_RATIO", 0.5),
            "foreground": source.get(target + "REG_FG_THRESH", 0.55),
            "easy": source.get(target + "CLS_BG_THRESH_LO", 0.1),
            "hard_share": source.get(target + "HARD_BG_RATIO", 0.8),
            "low": source.get(target + "CLS_BG_THRESH", 0.25),
            "high": source.get(target + "CLS_FG_THRESH", 0.75),
        },
    }
    if hasattr(defaults, "pools"):
        source.expect(ROI + "NAME", "VoxelRCNNHead")
        values["pools"] = _pools(source)
    if hasattr(defaults, "keypoints"):
        source.expect(ROI + "NAME", "PVRCNNHead")
        values |= _keypoints(source)
    return values


def _proposals(source: ForeignConfig, phase: str) -> dict[str, Any]:
    rule = f"{ROI}NMS_CONFIG.{phase}."
    source.expect(rule + "MULTI_CLASSES_NMS", False, default=False)
    return {
        "candidates": source.get(rule + "NMS_PRE_MAXSIZE"),
        "nms_overlap": source.get(rule + "NMS_THRESH"),
        "maximum": source.get(rule + "NMS_POST_MAXSIZE"),
    }


def _pools(source: ForeignConfig) -> list[dict[str, Any]]:
    found = []
    for name in source.get(POOL + "FEATURES_SOURCE", []) or []:
        layer = f"{POOL}POOL_LAYERS.{name}."
        reach = source.get(layer + "QUERY_RANGES", [[4, 4, 4]])[0]
        widths = source.get(layer + "MLPS", [[32, 32]])
        radii = source.get(layer + "POOL_RADIUS", [])
        if len(radii) != 1 or len(set(reach)) != 1 or len(widths) != 1 or len(set(widths[0])) != 1:
            source.refuse(f"{layer[:-1]}: one radius, one reach and one width are ours")
            continue
        found.append(
            {
                "stage": int(str(name)[-1]),
                "radius": radii[0],
                "reach": reach[0],
                "neighbours": source.get(layer + "NSAMPLE", [16])[0],
                "channels": widths[0][0],
            }
        )
    return found


def _keypoints(source: ForeignConfig) -> dict[str, Any]:
    source.expect(KEYPOINTS + "NAME", "VoxelSetAbstraction")
    source.expect(KEYPOINTS + "SAMPLE_METHOD", "FPS", default="FPS")
    layers = source.get(KEYPOINTS + "SA_LAYER", {}) or {}
    wanted = source.get(KEYPOINTS + "FEATURES_SOURCE", []) or []
    for name in ("bev", "raw_points"):
        if name not in wanted:
            source.refuse(f"{KEYPOINTS}FEATURES_SOURCE has no {name}")
    stages = [name for name in wanted if str(name).startswith("x_conv")]
    return {
        "keypoints": source.get(KEYPOINTS + "NUM_KEYPOINTS"),
        "raw_balls": _balls(layers.get("raw_points", {})),
        "stage_balls": [{"stage": int(name[-1]), "balls": _balls(layers.get(name, {}))} for name in stages],
        "roi_balls": _balls(source.get(POOL[:-1], {})),
        "point_weight": source.get("MODEL.POINT_HEAD.LOSS_CONFIG.LOSS_WEIGHTS.point_cls_weight", 1.0),
    }


def _balls(layer: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = zip(layer.get("POOL_RADIUS", []), layer.get("NSAMPLE", []), layer.get("MLPS", []))
    return [{"radius": radius, "neighbours": number, "widths": widths} for radius, number, widths in rows]
