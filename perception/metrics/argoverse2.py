"""The Argoverse 2 detection metric: average precision by distance of centres, errors of what was found, and CDS.

Wilson et al., NeurIPS 2021 Datasets, section on 3D detection, and the public evaluator (av2-api, evaluation/detection).
The leaderboard also leaves out what is off the drivable area widened by 5 m: that needs the log's map (see
``datasets/argoverse2_map.py``). Without ``regions`` nothing is left out, and figures are not those of the leaderboard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perception.compiled import compiled
from perception.datasets.argoverse2.labels import CATEGORIES
from perception.datasets.argoverse2.results import category_of
from perception.datasets.sample import Objects
from perception.errors import PerceptionError
from perception.results import Detections

Frame = tuple[Objects, Detections]

DISTANCES = (0.5, 1.0, 2.0, 4.0)
ERROR_DISTANCE = 2.0  # of matches whose errors count; also the largest ATE
MAXIMUM_RANGE = 150.0
MAXIMUM_DETECTIONS = 100  # of a category in a sweep
RECALL_SAMPLES = 101
_WORST = (ERROR_DISTANCE, 1.0, np.pi)


@dataclass(frozen=True)
class CategoryScores:
    """``precision`` at each of ``DISTANCES`` and their mean ``ap``; mean errors of translation (``ate``, metres), scale
    (``ase``, 1 - IoU of aligned boxes) and orientation (``aoe``, radians); ``cds`` = ap x mean of 1 - error / worst;
    ``objects`` evaluated."""

    precision: tuple[float, ...]
    ap: float
    ate: float
    ase: float
    aoe: float
    cds: float
    objects: int


@dataclass(frozen=True)
class Argoverse2Report:
    """Scores of each category, and the mean of all: categories without objects count as not found, as published."""

    categories: Mapping[str, CategoryScores]

    def mean(self, name: str) -> float:
        """The mean of ``ap``, ``ate``, ``ase``, ``aoe`` or ``cds`` over all categories."""
        return float(np.mean([getattr(scores, name) for scores in self.categories.values()]))

    def table(self) -> str:
        """A line a category, rounded to three digits as the evaluator prints them, and the means."""
        lines = [f"{'':<34}{'objects':>8}{'AP':>8}{'ATE':>8}{'ASE':>8}{'AOE':>8}{'CDS':>8}"]
        rows = [(name, str(s.objects), [s.ap, s.ate, s.ase, s.aoe, s.cds]) for name, s in self.categories.items()]
        rows.append(("AVERAGE_METRICS", "", [self.mean(name) for name in ("ap", "ate", "ase", "aoe", "cds")]))
        lines += [f"{name:<34}{count:>8}" + "".join(f"{v:8.3f}" for v in values) for name, count, values in rows]
        return "\n".join(lines)


def evaluate(
    frames: Sequence[Frame],
    categories: Sequence[str] = CATEGORIES,
    regions: Sequence[tuple[np.ndarray, np.ndarray]] | None = None,
) -> Argoverse2Report:
    """Evaluate (objects, detections) of each sweep, both in the ego frame.

    Objects need the attribute ``points``: those without any point are left out, as is everything beyond 150 m. Labels
    and classes of other categories play no part. ``regions`` are masks (objects, detections) of each sweep, True inside
    the region of interest. Raises PerceptionError for an unknown category and objects without ``points``.
    """
    categories = [category_of(name) for name in categories]
    truth, found = _flatten(frames, categories, regions)
    first, distance, match = _assign(found.xyz, found.group, truth.xyz, truth.group)
    scores = {}
    for number, name in enumerate(categories):
        rows = np.flatnonzero(found.group % len(categories) == number)
        rows = rows[np.argsort(-found.score[rows], kind="stable")]
        objects = int((truth.group % len(categories) == number).sum())
        nearest = np.where(first[rows], distance[rows], np.inf)
        close = rows[nearest < ERROR_DISTANCE]
        errors = _errors(found.boxes[close], truth.boxes[match[close]], distance[close])
        scores[name] = _category(nearest, objects, errors)
    return Argoverse2Report(scores)


@dataclass(frozen=True, eq=False)
class _Side:
    """Boxes (N, 7) of all sweeps by group (sweep x categories + category), and in it by falling score."""

    boxes: np.ndarray
    group: np.ndarray
    score: np.ndarray

    @property
    def xyz(self) -> np.ndarray:
        return np.ascontiguousarray(self.boxes[:, :3])


def _flatten(
    frames: Sequence[Frame], categories: list[str], regions: Sequence[tuple[np.ndarray, np.ndarray]] | None
) -> tuple[_Side, _Side]:
    if regions is not None and len(regions) != len(frames):
        raise PerceptionError(f"{len(regions)} regions for {len(frames)} sweeps", "two masks for each sweep")
    number = {name: i for i, name in enumerate(categories)}
    sides: tuple[list[list[np.ndarray]], ...] = ([], [])
    for sweep, (objects, detections) in enumerate(frames):
        if "points" not in objects.attributes:
            raise PerceptionError(
                f"objects of sweep {sweep} have the attributes {sorted(objects.attributes)}",
                "the attribute points: how many lidar points each box holds",
                "evaluate on argoverse2",
            )
        classes = np.array([number.get(name.upper(), -1) for name in detections.classes], np.int64)
        labels = np.array([number.get(str(name).upper(), -1) for name in objects.names], np.int64)
        chosen = [labels, classes[detections.labels.detach().cpu().numpy()]]
        inside = [objects.attributes["points"] > 0, np.ones(len(detections), bool)]
        score = [np.zeros(len(objects)), detections.scores.detach().cpu().double().numpy()]
        for side, boxes in enumerate((objects.boxes, detections.boxes)):
            values = boxes.values.detach().cpu().double().numpy()
            kept = (chosen[side] >= 0) & inside[side] & (np.linalg.norm(values[:, :3], axis=1) < MAXIMUM_RANGE)
            if regions is not None:
                kept = kept & regions[sweep][side]
            sides[side].append([values[kept], sweep * len(categories) + chosen[side][kept], score[side][kept]])
    truth, found = (_side(parts) for parts in sides)
    kept = _rank(found.group) < MAXIMUM_DETECTIONS
    return truth, _Side(found.boxes[kept], found.group[kept], found.score[kept])


def _side(parts: list[list[np.ndarray]]) -> _Side:
    empty = [np.zeros((0, 7)), np.zeros(0, np.int64), np.zeros(0)]
    boxes, group, score = (np.concatenate(column) for column in zip(empty, *parts))
    order = np.lexsort((-score, group))
    return _Side(boxes[order], group[order], score[order])


def _rank(groups: np.ndarray) -> np.ndarray:
    """The place of each row in its run of equal values."""
    return np.arange(len(groups)) - np.searchsorted(groups, groups)


@compiled
def _assign(
    found: np.ndarray, found_group: np.ndarray, truth: np.ndarray, truth_group: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether each detection (N, 3) is the best-scored of those nearest to its object; its distance and object.

    A detection belongs to the object of its group that is nearest, however far, and an object to the first detection
    that belongs to it: later ones are false, even where the first proves too far away.
    """
    first = np.zeros(len(found), np.bool_)
    distance = np.full(len(found), np.inf)
    match = np.full(len(found), -1, np.int64)
    taken = np.zeros(len(truth), np.bool_)
    for i in range(len(found)):
        start = np.searchsorted(truth_group, found_group[i])
        for j in range(start, len(truth)):
            if truth_group[j] != found_group[i]:
                break
            offset = np.sqrt(((found[i] - truth[j]) ** 2).sum())
            if offset < distance[i]:
                distance[i], match[i] = offset, j
        if match[i] >= 0 and not taken[match[i]]:
            first[i] = taken[match[i]] = True
    return first, distance, match


def _errors(found: np.ndarray, truth: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Errors (N, 3) of matched boxes (N, 7): metres, 1 - IoU of sizes, radians in [0, pi]."""
    shared = np.minimum(found[:, 3:6], truth[:, 3:6]).prod(1) / np.maximum(found[:, 3:6], truth[:, 3:6]).prod(1)
    turn = np.abs(np.remainder(found[:, 6] - truth[:, 6] + np.pi, 2 * np.pi) - np.pi)
    return np.stack([distance, 1 - shared, turn], axis=1)


def _category(nearest: np.ndarray, objects: int, errors: np.ndarray) -> CategoryScores:
    if not objects:
        return CategoryScores((0.0,) * len(DISTANCES), 0.0, *_WORST, 0.0, 0)
    precision = tuple(_average_precision(nearest < limit, objects) for limit in DISTANCES)
    mean = errors.mean(0) if len(errors) else np.array(_WORST)
    ap = float(np.mean(precision))
    cds = ap * float(np.mean(1 - mean / _WORST))
    return CategoryScores(precision, ap, float(mean[0]), float(mean[1]), float(mean[2]), cds, objects)


def _average_precision(hit: np.ndarray, objects: int) -> float:
    """The mean, at 101 recalls, of the best precision at that recall or more; 0 beyond the largest."""
    if not len(hit):
        return 0.0
    hits = np.cumsum(hit)
    precision = hits / np.arange(1, len(hit) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.interp(np.linspace(0, 1, RECALL_SAMPLES), hits / objects, best, right=0).mean())
