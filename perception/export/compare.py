"""Boxes of an exported file beside those of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from perception.boxes import wrap_angle
from perception.errors import PerceptionError
from perception.export.manifest import CheckReport
from perception.heads.selection import Selection
from perception.results import Detections

ALL = 10_000
LONG = 10.0


@dataclass(frozen=True)
class Tolerance:
    """``box`` in metres and radians, of boxes beyond 10 m so much for each 10 m; ``score``; the share ``unmatched``."""

    box: float
    score: float
    unmatched: float


TOLERANCES = {
    "fp32": Tolerance(0.01, 0.001, 0.005),
    "fp16": Tolerance(0.1, 0.02, 0.05),
    "int8": Tolerance(0.5, 0.2, 0.25),
}


@dataclass(frozen=True, eq=False)
class Answer:
    """Results of one cloud, and its candidates in front of suppression.

    ``full``: there may have been more candidates; of those that score like the last one, any may be in.
    """

    results: Detections
    candidates: Detections
    full: bool = False

    def last_scores(self, labels: Tensor) -> Tensor:
        """The lowest score of a candidate of each of the classes (N,), -1 where none can have been cut off."""
        if not self.full:
            return torch.full(labels.shape, -1.0)
        lowest = torch.ones(len(self.candidates.classes))
        lowest = lowest.scatter_reduce(0, self.candidates.labels, self.candidates.scores, "amin")
        return lowest[labels]


@dataclass(frozen=True)
class Difference:
    """Of the boxes of both sides; the largest differences are those of results that have a partner among results."""

    unmatched: int = 0
    reordered: int = 0
    worst_box: float = 0.0
    worst_score: float = 0.0

    def __add__(self, other: Difference) -> Difference:
        worst = max(self.worst_box, other.worst_box), max(self.worst_score, other.worst_score)
        return Difference(self.unmatched + other.unmatched, self.reordered + other.reordered, *worst)


def unsuppressed(rule: Any) -> Any:
    """The ``Selection`` or ``CentreSelection`` of the same candidates, none of them suppressed."""
    if isinstance(rule, Selection):
        return replace(rule, nms_overlap=1.0, maximum=ALL)
    whole = tuple(replace(part, overlap=1.0, candidates=ALL, maximum=ALL) for part in rule.suppression)
    return replace(rule, suppression=whole, radii=None)


def difference(first: Answer, second: Answer, tolerance: Tolerance) -> Difference:
    """Both ways: results of one side against results, then against candidates, of the other."""
    return _one_way(first.results, second, tolerance) + _one_way(second.results, first, tolerance)


def check_report(wanted: Sequence[Answer], found: Sequence[Answer], tolerance: Tolerance) -> CheckReport:
    """All clouds together; PerceptionError where too many boxes have no partner."""
    total = sum((difference(a, b, tolerance) for a, b in zip(wanted, found)), start=Difference())
    ours = sum(len(answer.results) for answer in wanted)
    boxes = ours + sum(len(answer.results) for answer in found)
    if total.unmatched > tolerance.unmatched * boxes:
        raise PerceptionError(
            f"of {boxes} boxes of torch and of the exported file together, {total.unmatched} have no partner within "
            f"{tolerance.box} m or rad and a score of {tolerance.score}",
            f"at most {tolerance.unmatched:.1%} of them",
            "choose a higher precision; in fp32 this is a mistake of the export that should be reported",
        )
    return CheckReport(
        clouds=len(wanted),
        boxes=ours,
        unmatched=total.unmatched,
        reordered=total.reordered,
        worst_box=total.worst_box,
        worst_score=total.worst_score,
        box_tolerance=tolerance.box,
        score_tolerance=tolerance.score,
        share_tolerance=tolerance.unmatched,
    )


def _one_way(results: Detections, other: Answer, tolerance: Tolerance) -> Difference:
    if not len(results):
        return Difference()
    near, box, score = _nearest(results, other.results, tolerance)
    rest = results.select(~near)
    known = _nearest(rest, other.candidates, tolerance)[0] | (
        rest.scores <= other.last_scores(rest.labels) + tolerance.score
    )
    unmatched = int((~known).sum())
    worst = [float(value[near].max()) if near.any() else 0.0 for value in (box, score)]
    return Difference(unmatched, int((~near).sum()) - unmatched, *worst)


def _nearest(boxes: Detections, others: Detections, tolerance: Tolerance) -> tuple[Tensor, Tensor, Tensor]:
    """Whether each box has a partner, and how far the nearest one is in any value and in its score."""
    if not len(boxes) or not len(others):
        none = torch.zeros(len(boxes))
        return none.bool(), none, none
    box, score = _distances(boxes, others)
    fits = (box <= tolerance.box) & (score <= tolerance.score)
    column = torch.where(fits, box + score, torch.inf).argmin(1, keepdim=True)
    return fits.any(1), box.gather(1, column)[:, 0], score.gather(1, column)[:, 0]


def _distances(first: Detections, second: Detections) -> tuple[Tensor, Tensor]:
    """Largest difference of any value of two boxes (N, M), infinite between classes, and of their scores."""
    a, b = first.boxes.values[:, None], second.boxes.values[None]
    gap = torch.cat([(a - b)[..., :6].abs(), wrap_angle(a - b)[..., 6:7].abs()], -1).amax(-1)
    if first.boxes.velocity is not None and second.boxes.velocity is not None:
        gap = torch.maximum(gap, (first.boxes.velocity[:, None] - second.boxes.velocity[None]).abs().amax(-1))
    gap = gap / (first.boxes.values[:, 3:6].amax(1, keepdim=True) / LONG).clamp(min=1)
    gap = torch.where(first.labels[:, None] == second.labels[None], gap, torch.inf)
    return gap, (first.scores[:, None] - second.scores[None]).abs()
