"""Boxes of an exported file beside those of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from perception.boxes import wrap_angle
from perception.errors import PerceptionError
from perception.export.manifest import CheckReport
from perception.results import Detections


@dataclass(frozen=True)
class Tolerance:
    """``box`` in metres and radians, ``score``; ``share`` of the boxes that may be missing or new: at thresholds and in
    suppression the last digit decides."""

    box: float
    score: float
    share: float


TOLERANCES = {
    "fp32": Tolerance(0.01, 0.001, 0.005),
    "fp16": Tolerance(0.1, 0.02, 0.05),
    "int8": Tolerance(0.5, 0.2, 0.3),
    "int8-dynamic": Tolerance(0.5, 0.2, 0.3),
}


@dataclass(frozen=True)
class Difference:
    """``pairs`` within tolerance, ``unmatched`` boxes of either side; the largest differences among the pairs."""

    pairs: int
    unmatched: int
    worst_box: float
    worst_score: float


def difference(first: Detections, second: Detections, tolerance: Tolerance) -> Difference:
    """Pair boxes of one class one to one, best first, each with its nearest within the tolerance."""
    box, score = _distances(first, second)
    free = torch.ones(len(second), dtype=torch.bool)
    pairs, worst_box, worst_score = 0, 0.0, 0.0
    for row in range(len(first)):
        fits = free & (box[row] <= tolerance.box) & (score[row] <= tolerance.score)
        if not fits.any():
            continue
        column = int(torch.where(fits, box[row] + score[row], torch.inf).argmin())
        free[column] = False
        pairs += 1
        worst_box, worst_score = max(worst_box, float(box[row, column])), max(worst_score, float(score[row, column]))
    return Difference(pairs, len(first) + len(second) - 2 * pairs, worst_box, worst_score)


def check_report(wanted: Sequence[Detections], found: Sequence[Detections], tolerance: Tolerance) -> CheckReport:
    """All clouds together; PerceptionError where too many boxes have no partner."""
    parts = [difference(a, b, tolerance) for a, b in zip(wanted, found)]
    boxes = sum(map(len, wanted)) + sum(map(len, found))
    report = CheckReport(
        clouds=len(parts),
        boxes=sum(map(len, wanted)),
        unmatched=sum(part.unmatched for part in parts),
        worst_box=max((part.worst_box for part in parts), default=0.0),
        worst_score=max((part.worst_score for part in parts), default=0.0),
        box_tolerance=tolerance.box,
        score_tolerance=tolerance.score,
        share_tolerance=tolerance.share,
    )
    if report.unmatched > tolerance.share * boxes:
        raise PerceptionError(
            f"of {boxes} boxes of torch and of the exported file together, {report.unmatched} have no partner within "
            f"{tolerance.box} m or rad and a score of {tolerance.score}",
            f"at most {tolerance.share:.1%} without one",
            "choose a higher precision; in fp32 this is a mistake of the export that should be reported",
        )
    return report


def _distances(first: Detections, second: Detections) -> tuple[Tensor, Tensor]:
    """Largest difference of any value of two boxes (N, M), infinite between classes, and of their scores."""
    a, b = first.boxes.values[:, None], second.boxes.values[None]
    gap = torch.cat([(a - b)[..., :6].abs(), wrap_angle(a - b)[..., 6:7].abs()], -1).amax(-1)
    if first.boxes.velocity is not None and second.boxes.velocity is not None:
        gap = torch.maximum(gap, (first.boxes.velocity[:, None] - second.boxes.velocity[None]).abs().amax(-1))
    gap = torch.where(first.labels[:, None] == second.labels[None], gap, torch.inf)
    return gap, (first.scores[:, None] - second.scores[None]).abs()
