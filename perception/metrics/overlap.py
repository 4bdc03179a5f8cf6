"""Average precision by overlap for data without a benchmark of its own: KITTI's 40 recalls, no difficulties.

A detection is right if it overlaps an object of its class enough that no better-scored one has taken. Objects with too
few points, and detections of them, count for nothing. Source of the average: Simonelli et al., ICCV 2019 (R40).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from perception.boxes import Boxes3D
from perception.geometry import bev_iou, iou_3d

RECALLS = np.arange(1, 41) / 40
RANGES = {"all": (0.0, np.inf), "0-30 m": (0.0, 30.0), "30-50 m": (30.0, 50.0), "50+ m": (50.0, np.inf)}
OVERLAPS = (0.7, 0.5)
MEASURES = {"bev": bev_iou, "3d": iou_3d}


@dataclass(frozen=True, eq=False)
class OverlapFrame:
    """Objects (``boxes``, ``names``, ``counted`` bool) and detections (``found``, ``found_names``, ``scores``)."""

    boxes: Boxes3D
    names: np.ndarray
    counted: np.ndarray
    found: Boxes3D
    found_names: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class OverlapReport:
    """``precision`` and ``recall`` in [0, 1] by (class, measure, overlap, range), NaN without ``objects``."""

    precision: Mapping[tuple[str, str, float, str], float]
    recall: Mapping[tuple[str, str, float, str], float]
    objects: Mapping[tuple[str, str], int]
    classes: tuple[str, ...]

    def table(self) -> str:
        """AP and the share of objects found, in percent."""
        lines = [f"{'AP R40 | found, %':<26}" + "".join(f"{name:>18}" for name in RANGES)]
        for name in self.classes:
            lines.append(f"{name:<26}" + "".join(f"{self.objects[name, r]:>10,} objects" for r in RANGES))
            for measure in MEASURES:
                for overlap in OVERLAPS:
                    keys = [(name, measure, overlap, r) for r in RANGES]
                    cells = [f"{100 * self.precision[k]:>9.2f} | {100 * self.recall[k]:>6.2f}" for k in keys]
                    lines.append(f"  {measure} at IoU {overlap:<12g}" + "".join(f"{cell:>18}" for cell in cells))
        return "\n".join(lines)


def evaluate_overlap(frames: Sequence[OverlapFrame], classes: Sequence[str]) -> OverlapReport:
    """AP of each class, seen from above and in 3D, at both overlaps, over all and by distance of the object."""
    precision, recall, objects = {}, {}, {}
    for name in classes:
        rows = [_of_class(frame, name) for frame in frames]
        for label, limits in RANGES.items():
            objects[name, label] = sum(int(_within(row.boxes, limits)[row.counted].sum()) for row in rows)
        for measure, compute in MEASURES.items():
            tables = [compute(row.found.values.double(), row.boxes.values.double()) for row in rows]
            for overlap in OVERLAPS:
                for label, limits in RANGES.items():
                    key = (name, measure, overlap, label)
                    matched = [_match(row, table, overlap, limits) for row, table in zip(rows, tables)]
                    precision[key], recall[key] = _average(matched, objects[name, label])
    return OverlapReport(precision, recall, objects, tuple(classes))


def _of_class(frame: OverlapFrame, name: str) -> OverlapFrame:
    mine, theirs = frame.names == name, np.flatnonzero(frame.found_names == name)
    theirs = theirs[np.argsort(-frame.scores[theirs], kind="stable")]
    return OverlapFrame(
        frame.boxes[np.flatnonzero(mine)],
        frame.names[mine],
        frame.counted[mine],
        frame.found[theirs],
        frame.found_names[theirs],
        frame.scores[theirs],
    )


def _within(boxes: Boxes3D, limits: tuple[float, float]) -> np.ndarray:
    distance = boxes.values[:, :2].double().norm(dim=1).numpy()
    inside: np.ndarray = (distance >= limits[0]) & (distance < limits[1])
    return inside


def _match(
    frame: OverlapFrame, table: Tensor, overlap: float, limits: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the detections that count, and whether each is right."""
    overlaps = table.numpy() if len(frame.boxes) else np.zeros((len(frame.found), 0))
    counted = frame.counted & _within(frame.boxes, limits)
    own = _within(frame.found, limits)
    free = np.ones(len(frame.boxes), bool)
    right, counts = np.zeros(len(frame.found), bool), own.copy()
    for row in range(len(frame.found)):
        candidates = np.where(free & counted, overlaps[row], 0.0)
        best = int(candidates.argmax()) if len(candidates) else -1
        if best >= 0 and candidates[best] >= overlap:
            right[row] = counts[row] = True
            free[best] = False
        elif len(candidates) and (np.where(~counted, overlaps[row], 0.0) >= overlap).any():
            counts[row] = False
    return frame.scores[counts], right[counts]


def _average(matched: Sequence[tuple[np.ndarray, np.ndarray]], objects: int) -> tuple[float, float]:
    if not objects:
        return float("nan"), float("nan")
    scores = np.concatenate([np.zeros(0), *(scores for scores, _ in matched)])
    right = np.concatenate([np.zeros(0, bool), *(right for _, right in matched)])
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / objects
    best = np.maximum.accumulate(precision[::-1])[::-1] if len(precision) else precision
    place = np.searchsorted(recall, RECALLS - 1e-9)
    values = np.where(place < len(best), best[np.minimum(place, max(len(best) - 1, 0))] if len(best) else 0.0, 0.0)
    return float(values.mean()), float(recall[-1]) if len(recall) else 0.0
