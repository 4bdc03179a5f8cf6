"""The KITTI metric in plain Python, one frame, object and detection at a time: what the compiled form is held to.

Written from the evaluator's rules (object development kit, Geiger et al. 2012), not from the compiled form: it shares
the tables of limits and the overlaps with it, nothing else. Minutes for a data set, so it is for tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perception.datasets.kitti.labels import KittiObjects
from perception.metrics.kitti import MAXIMUM_OCCLUSION, MAXIMUM_TRUNCATION, MINIMUM_HEIGHT, NEIGHBOURS, Frame
from perception.metrics.kitti_overlap import image_overlap, overlaps


@dataclass
class _Counts:
    hits: int = 0
    false: int = 0
    similarity: float = 0.0


def curves(
    frames: Sequence[Frame], name: str, metric: str, level: int, minimum: float
) -> tuple[list[float], list[float]]:
    """Precision and orientation similarity at the recalls 0, 1/40, ..., 1, each the best from there on.

    ``level`` 0 easy, 1 moderate, 2 hard; ``metric`` "image", "bev" or "3d"; ``minimum`` the overlap to exceed.
    """
    scores: list[float] = []
    total = 0
    for labels, found in frames:
        shared = overlaps(found, labels)[metric]
        total += sum(_label_role(labels, i, name, level) == "counts" for i in range(len(labels)))
        for i, j in _match(labels, found, shared, name, level, minimum, -math.inf, by_score=True):
            if _both_count(labels, i, found, j, name, level):
                scores.append(float(found.score[j]))
    precision, orientation = [0.0] * 41, [0.0] * 41
    for step, threshold in enumerate(_score_steps(scores, total)[:41]):
        counts = _Counts()
        for labels, found in frames:
            _add(counts, labels, found, metric, name, level, minimum, threshold)
        judged = counts.hits + counts.false
        precision[step] = counts.hits / judged if judged else 0.0
        orientation[step] = counts.similarity / judged if judged else 0.0
    return [max(precision[i:]) for i in range(41)], [max(orientation[i:]) for i in range(41)]


def _add(
    counts: _Counts,
    labels: KittiObjects,
    found: KittiObjects,
    metric: str,
    name: str,
    level: int,
    minimum: float,
    threshold: float,
) -> None:
    pairs = _match(labels, found, overlaps(found, labels)[metric], name, level, minimum, threshold, by_score=False)
    for i, j in pairs:
        if _both_count(labels, i, found, j, name, level):
            counts.hits += 1
            counts.similarity += (1 + math.cos(labels.alpha[i] - found.alpha[j])) / 2
    matched = {j for _, j in pairs}
    regions = labels.bbox[labels.names == "DontCare"]
    excused = image_overlap(found.bbox, regions, of_first=True)
    for j in range(len(found)):
        if j in matched or found.score[j] < threshold or _detection_role(found, j, name, level) != "counts":
            continue
        counts.false += not (metric == "image" and (excused[j] > minimum).any())


def _match(
    labels: KittiObjects,
    found: KittiObjects,
    shared: np.ndarray,
    name: str,
    level: int,
    minimum: float,
    threshold: float,
    by_score: bool,
) -> list[tuple[int, int]]:
    """Label by label the free detection with the highest score, or with the largest overlap among those that count;
    a tolerated detection, the first of them, only where none that counts is left."""
    pairs: list[tuple[int, int]] = []
    for i in range(len(labels)):
        if _label_role(labels, i, name, level) == "other":
            continue
        taken = {j for _, j in pairs}
        free = [
            j
            for j in range(len(found))
            if j not in taken
            and found.score[j] >= threshold
            and shared[j, i] > minimum
            and _detection_role(found, j, name, level) != "other"
        ]
        counting = [j for j in free if _detection_role(found, j, name, level) == "counts"]
        if not free:
            continue
        if by_score:
            pairs.append((i, max(free, key=lambda j: found.score[j])))
        else:
            pairs.append((i, max(counting, key=lambda j: shared[j, i]) if counting else free[0]))
    return pairs


def _score_steps(scores: list[float], total: int) -> list[float]:
    """The scores at which recall passes 0, 1/40, ..., each the nearer of its two neighbours."""
    steps: list[float] = []
    ordered = sorted(scores, reverse=True)
    aim = 0.0
    for rank, score in enumerate(ordered, start=1):
        if rank < len(ordered) and (rank + 1) / total - aim < aim - rank / total:
            continue
        steps.append(score)
        aim += 1 / 40
    return steps


def _both_count(labels: KittiObjects, i: int, found: KittiObjects, j: int, name: str, level: int) -> bool:
    return _label_role(labels, i, name, level) == _detection_role(found, j, name, level) == "counts"


def _label_role(labels: KittiObjects, i: int, name: str, level: int) -> str:
    own = labels.names[i].lower()
    if own == NEIGHBOURS.get(name.lower()):
        return "tolerated"
    if own != name.lower():
        return "other"
    clear = labels.occluded[i] <= MAXIMUM_OCCLUSION[level] and labels.truncated[i] <= MAXIMUM_TRUNCATION[level]
    tall = labels.bbox[i, 3] - labels.bbox[i, 1] > MINIMUM_HEIGHT[level]
    return "counts" if clear and tall else "tolerated"


def _detection_role(found: KittiObjects, j: int, name: str, level: int) -> str:
    if abs(found.bbox[j, 3] - found.bbox[j, 1]) < MINIMUM_HEIGHT[level]:
        return "tolerated"
    return "counts" if found.names[j].lower() == name.lower() else "other"
