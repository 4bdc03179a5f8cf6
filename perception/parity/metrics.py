"""Files of metrics: box overlaps with suppression, and KITTI average precision."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from perception.datasets.kitti.labels import parse_label_lines
from perception.geometry import bev_intersection, bev_iou, iou_3d, nms, nms_per_class
from perception.metrics.kitti import evaluate
from perception.parity.checks import Check, Tolerance, close, equal

OVERLAP = Tolerance(absolute=1e-6)
AVERAGE_PRECISION = Tolerance(absolute=1e-3)


def check_overlaps(stored: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> Iterator[Check]:
    """Areas and ratios of pairs and matrices, and the kept boxes of every suppression threshold."""
    tensors = {key: torch.from_numpy(value) for key, value in stored.items()}
    functions = (("inter", bev_intersection), ("iou_bev", bev_iou), ("iou_3d", iou_3d))
    for group in ("pairs", "mat"):
        a, b = tensors[f"{group}_a"], tensors[f"{group}_b"]
        yield Check(f"{group} boxes", True, 0.0, 0.0, 0, "the input", (f"{group}_a", f"{group}_b"))
        for name, function in functions:
            key = f"{group}_{name}"
            ours = function(a, b, group == "pairs").numpy()
            yield close(key, ours, stored[key], OVERLAP, keys=(key,))
    boxes, scores, labels = tensors["nms_boxes"], tensors["nms_scores"], tensors["nms_labels"].long() - 1
    yield Check("nms boxes", True, 0.0, 0.0, 0, "the input", ("nms_boxes", "nms_scores", "nms_labels"))
    for key in stored:
        if match := re.fullmatch(r"nms_keep_(perclass_)?([\d.]+)", key):
            threshold = float(match[2])
            kept = nms_per_class(boxes, scores, labels, threshold) if match[1] else nms(boxes, scores, threshold)
            yield equal(key, kept.numpy(), stored[key], (key,))


def check_kitti_ap(meta: Mapping[str, Any]) -> Iterator[Check]:
    """Every number of the official result and of its printed table."""
    frames = [
        (parse_label_lines(frame["label"], f"frame {i} label"), parse_label_lines(frame["det"], f"frame {i} det"))
        for i, frame in enumerate(meta["frames"])
    ]
    report = evaluate(frames, meta["classes"])
    for name, value in meta["result"].items():
        ours = np.array([report.values.get(name, np.nan)])
        yield close(name, ours, np.array([value], dtype=np.float64), AVERAGE_PRECISION)
    if "text" in meta:
        printed, ours_printed = _numbers(meta["text"]), _numbers(report.table())
        # The table has two decimals for the orientation, so half of the last one may be lost in print.
        yield close("printed table", ours_printed, printed, Tolerance(absolute=1e-3 + 0.005))


def _numbers(text: str) -> np.ndarray:
    return np.array([float(word) for word in re.findall(r"\d+\.\d+", text)])
