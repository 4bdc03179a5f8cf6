"""Which of the boxes at a centre head's cells become results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from perception.boxes import Boxes3D
from perception.config import config
from perception.errors import PerceptionError
from perception.geometry import circle_nms, nms
from perception.results import Detections


@config
class Suppression:
    """Boxes that overlap a better one by more than ``overlap`` go; of the best ``candidates``, ``maximum`` may stay."""

    overlap: float = 0.2
    candidates: int = 1000
    maximum: int = 83


@config
class CentreSelection:
    """``score_threshold`` of the heatmap's score; the best ``peaks`` of a task; ``centre_range`` x y z low, then high
    in metres, outside which boxes are dropped (None: none are).

    ``suppression``: one rule works within each task whatever the class, several are one a class. ``rectifier``: one
    power a a class by which overlaps that the head predicts change scores to score^(1 - a) * overlap^a. ``radii``: one
    a task, metres, within which a better box of the task drops others, in place of ``overlap``.
    """

    score_threshold: float = 0.1
    peaks: int = 500
    centre_range: tuple[float, float, float, float, float, float] | None = None
    suppression: tuple[Suppression, ...] = (Suppression(),)
    rectifier: tuple[float, ...] | None = None
    radii: tuple[float, ...] | None = None


@dataclass(frozen=True, eq=False)
class Peaks:
    """Boxes of one task in one sample before suppression.

    ``boxes`` (N, 7 or 9), ``scores`` (N,), ``labels`` (N,) among all classes.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def best(scores: Tensor, count: int, threshold: float) -> Tensor:
    """Indices of the best ``count`` of ``scores`` (N,) above ``threshold``, best first, equal ones in their order."""
    above = (scores > threshold).nonzero()[:, 0]
    if len(above) > 4 * count:
        # Most cells are out already at the score of the last place; a full sort would take far longer.
        last = scores[above].topk(count).values[-1]
        above = above[scores[above] >= last]
    return above[scores[above].argsort(descending=True, stable=True)[:count]]


def gather_peaks(boxes: Tensor, scores: Tensor, labels: Tensor, overlap: Tensor | None, rule: CentreSelection) -> Peaks:
    """Candidates within the range, with scores rectified by the predicted ``overlap`` (N,) = 2 IoU - 1, if there is."""
    if overlap is not None and rule.rectifier is not None:
        power = scores.new_tensor(rule.rectifier)[labels]
        share = ((overlap + 1) / 2).clamp(0, 1)
        scores = scores ** (1 - power) * share**power
    if rule.centre_range is not None:
        low, high = boxes.new_tensor(rule.centre_range).view(2, 3)
        inside = ((boxes[:, :3] >= low) & (boxes[:, :3] <= high)).all(1)
        boxes, scores, labels = boxes[inside], scores[inside], labels[inside]
    return Peaks(boxes, scores, labels)


def suppress(tasks: Sequence[Peaks], rule: CentreSelection, classes: tuple[str, ...]) -> Detections:
    """The results of one sample, best first, of the peaks of every task."""
    if len(rule.suppression) not in (1, len(classes)):
        raise PerceptionError(
            f"{len(rule.suppression)} rules of suppression for {len(classes)} classes", "one for all, or one a class"
        )
    if rule.radii is not None and len(rule.radii) != len(tasks):
        raise PerceptionError(f"{len(rule.radii)} radii of suppression for {len(tasks)} tasks", "one a task")
    radii = rule.radii or (None,) * len(tasks)
    kept = [part for peaks, radius in zip(tasks, radii) for part in _survivors(peaks, rule, radius)]
    boxes, scores, labels = (
        torch.cat([getattr(part, name) for part in kept]) for name in ("boxes", "scores", "labels")
    )
    order = scores.argsort(descending=True, stable=True)
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    velocity = boxes[:, 7:9] if boxes.shape[1] == 9 else None
    return Detections(Boxes3D(boxes[:, :7], velocity), scores, labels, classes)


def _survivors(peaks: Peaks, rule: CentreSelection, radius: float | None) -> list[Peaks]:
    if len(rule.suppression) == 1:
        return [suppressed(peaks, rule.suppression[0], radius)]
    found = []
    for label, suppression in enumerate(rule.suppression):
        rows = (peaks.labels == label).nonzero()[:, 0]
        found.append(suppressed(Peaks(peaks.boxes[rows], peaks.scores[rows], peaks.labels[rows]), suppression, radius))
    return found


def suppressed(peaks: Peaks, rule: Suppression, radius: float | None = None) -> Peaks:
    """The peaks that stay under one rule, best first; further columns of the boxes go along."""
    rows = peaks.scores.argsort(descending=True, stable=True)[: rule.candidates]
    boxes, scores = peaks.boxes[rows, :7], peaks.scores[rows]
    if radius is None:
        rows = rows[nms(boxes, scores, rule.overlap, rule.maximum)]
    else:
        rows = rows[circle_nms(boxes, scores, radius, rule.maximum)]
    return Peaks(peaks.boxes[rows], peaks.scores[rows], peaks.labels[rows])
