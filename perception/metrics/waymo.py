"""Average precision of the Waymo Open detection benchmark, plain (AP) and weighted by heading (APH), at two levels.

Sun et al., "Scalability in perception for autonomous driving: Waymo Open Dataset", CVPR 2020, section 5.1, and the
public evaluator with the configuration of its compute_detection_metrics_main: Hungarian matching on 3D IoU, at 101
score cut-offs 0, 0.01, ..., 1. Level 2 holds all objects with a point, level 1 those that are not marked hard and hold
more than five; finding a hard object is a hit at both levels, missing it counts at level 2 alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perception.datasets.sample import Objects
from perception.errors import PerceptionError, nearest
from perception.metrics.waymo_matching import connected, count_matches, overlapping_pairs
from perception.results import Detections

Frame = tuple[Objects, Detections]

# Least IoU in space that finds an object. Signs are no part of the benchmark's mean.
MINIMUM_IOU = {"Vehicle": 0.7, "Pedestrian": 0.5, "Cyclist": 0.5, "Sign": 0.5}
CLASSES = ("Vehicle", "Pedestrian", "Cyclist")
RANGES = {"0-30": (0.0, 30.0), "30-50": (30.0, 50.0), "50+": (50.0, np.inf)}
CUTOFFS = np.append(np.arange(100) * 0.01, 1.0).astype(np.float32)
RECALL_STEP = 0.05
LEVELS = ("L1", "L2")
_EASY, _HARD = 1, 2
_HARD_POINTS = 5


@dataclass(frozen=True)
class WaymoReport:
    """``values`` in [0, 1] by "Vehicle/L1/AP", "Vehicle/50+/L2/APH" and so on; ``objects`` by the same without metric.

    Ranges are distances of centres from the vehicle's origin in metres.
    """

    values: Mapping[str, float]
    objects: Mapping[str, int]
    classes: tuple[str, ...]

    def mean(self, metric: str) -> float:
        """The mean over the classes of one metric, such as "L2/APH", the benchmark's ranking."""
        return float(np.mean([self.values[f"{name}/{metric}"] for name in self.classes]))

    def table(self) -> str:
        """A line for each class and range: AP / APH in percent at both levels."""
        lines = [f"{'':<22}{'L1 AP':>8}{'APH':>8}{'L2 AP':>8}{'APH':>8}{'objects':>10}"]
        for shard in [key for name in self.classes for key in (name, *(f"{name}/{part}" for part in RANGES))]:
            cells = [self.values[f"{shard}/{level}/{metric}"] for level in LEVELS for metric in ("AP", "APH")]
            lines.append(f"{shard:<22}" + "".join(f"{c:8.2%}" for c in cells) + f"{self.objects[f'{shard}/L2']:>10}")
        cells = [self.mean(f"{level}/{metric}") for level in LEVELS for metric in ("AP", "APH")]
        return "\n".join([*lines, f"{'mean':<22}" + "".join(f"{c:8.2%}" for c in cells)])


def evaluate(
    frames: Sequence[Frame],
    classes: Sequence[str] = CLASSES,
    in_no_label_zone: Sequence[np.ndarray] | None = None,
) -> WaymoReport:
    """Evaluate (objects, detections) of each frame, both in the vehicle frame.

    Objects need the attributes ``points`` and ``difficulty`` (1, 2, or 0 for by points: up to five are hard); those
    without a point are left out. Detections marked ``in_no_label_zone`` (one mask a frame) are not held against the
    detector; the benchmark's server finds them by polygons that the Parquet release does not hold.
    """
    classes = tuple(classes)
    for name in classes:
        if name not in MINIMUM_IOU:
            raise PerceptionError(f"the class {name!r}", f"one of {', '.join(MINIMUM_IOU)}", nearest(name, MINIMUM_IOU))
    flat = _Flat.of(frames, classes, in_no_label_zone)
    values: dict[str, float] = {}
    objects: dict[str, int] = {}
    for parts in (None, RANGES):
        names = [name if parts is None else f"{name}/{part}" for name in classes for part in parts or ("",)]
        curves = _curves(flat, len(names), flat.shards(parts is not None))
        for shard, name in enumerate(names):
            for level in LEVELS:
                curve = curves[level][shard]
                values[f"{name}/{level}/AP"] = average_precision(curve.precision, curve.recall)
                values[f"{name}/{level}/APH"] = average_precision(curve.weighted, curve.recall)
                objects[f"{name}/{level}"] = int(curve.objects)
    return WaymoReport(values, objects, classes)


def average_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    """Area under the precision of points in any order, best at that recall or more.

    Straight lines join neighbours; where recalls lie more than 0.05 apart, points 0.05 apart are put between, level
    with the higher recall, so that only the last step slopes. Recall 0 has the precision of the lowest recall found.
    """
    at, place = np.unique(np.append(recall, 0.0), return_inverse=True)
    height = np.zeros(len(at))
    np.maximum.at(height, place, np.append(precision, 1.0))
    curve: list[tuple[float, float]] = []
    best, last = 0.0, 0.0
    for r, p in zip(at[::-1].tolist(), height[::-1].tolist()):
        while last - r > RECALL_STEP + 1e-6:
            last -= RECALL_STEP
            curve.append((last, best))
        best, last = max(best, p), r
        curve.append((r, best))
    if len(curve) > 1:
        curve[-1] = (curve[-1][0], curve[-2][1])
    r, p = np.array(curve).T
    return float(((r[:-1] - r[1:]) * (p[:-1] + p[1:])).sum() / 2)


@dataclass(frozen=True, eq=False)
class _Curve:
    """Precision, precision weighted by heading and recall at each cut-off (101,)."""

    precision: np.ndarray
    weighted: np.ndarray
    recall: np.ndarray
    objects: int


@dataclass(frozen=True, eq=False)
class _Flat:
    """All frames in flat arrays; frame f owns rows ``first[f]`` to ``first[f + 1]`` of either side.

    ``steps`` is the number of cut-offs that a detection passes; pairs are those that may match.
    """

    found: np.ndarray
    found_class: np.ndarray
    steps: np.ndarray
    excused: np.ndarray
    truth: np.ndarray
    truth_class: np.ndarray
    hard: np.ndarray
    pairs: np.ndarray
    weights: np.ndarray
    accuracy: np.ndarray

    @classmethod
    def of(cls, frames: Sequence[Frame], classes: tuple[str, ...], zones: Sequence[np.ndarray] | None) -> _Flat:
        if zones is not None and len(zones) != len(frames):
            raise PerceptionError(f"{len(zones)} masks for {len(frames)} frames", "one mask for each frame")
        number = {name: i for i, name in enumerate(classes)}
        truths = [_objects(objects, number, index) for index, (objects, _) in enumerate(frames)]
        founds = [
            _detections(detections, number, None if zones is None else zones[index])
            for index, (_, detections) in enumerate(frames)
        ]
        truth, truth_class, hard = _columns(truths, (np.zeros((0, 7)), np.zeros(0, np.int64), np.zeros(0, bool)))
        found, found_class, score, excused = _columns(
            founds, (np.zeros((0, 7)), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, bool))
        )
        pairs, weights = overlapping_pairs(
            found,
            found_class,
            _offsets([len(rows[0]) for rows in founds]),
            truth,
            truth_class,
            _offsets([len(rows[0]) for rows in truths]),
            np.array([MINIMUM_IOU[name] for name in classes], np.float32),
        )
        steps = np.searchsorted(CUTOFFS, score, side="right")
        turn = np.abs(np.remainder(found[pairs[:, 0], 6] - truth[pairs[:, 1], 6] + np.pi, 2 * np.pi) - np.pi)
        accuracy = np.clip(1 - turn / np.pi, 0, 1)
        return cls(found, found_class, steps, excused, truth, truth_class, hard, pairs, weights, accuracy)

    def shards(self, by_range: bool) -> tuple[np.ndarray, np.ndarray]:
        """The shard of each detection and of each object: its class, or its class and range."""
        if not by_range:
            return self.found_class, self.truth_class
        limits = [low for low, _ in RANGES.values()][1:]
        parts = [
            np.searchsorted(limits, np.linalg.norm(b[:, :3], axis=1), side="right") for b in (self.found, self.truth)
        ]
        return self.found_class * len(RANGES) + parts[0], self.truth_class * len(RANGES) + parts[1]


def _curves(flat: _Flat, shards: int, of: tuple[np.ndarray, np.ndarray]) -> dict[str, list[_Curve]]:
    """The curves of each level and shard; detections and objects of different shards never match."""
    found_shard, truth_shard = of
    kept = found_shard[flat.pairs[:, 0]] == truth_shard[flat.pairs[:, 1]]
    pairs, weights, accuracy = flat.pairs[kept], flat.weights[kept], flat.accuracy[kept]
    group = connected(pairs, len(flat.found), len(flat.truth))
    order = np.argsort(group, kind="stable")
    sums = count_matches(
        pairs[order],
        weights[order],
        group[order],
        flat.steps,
        len(CUTOFFS),
        found_shard,
        shards,
        accuracy[order],
        flat.hard,
        flat.excused,
    )
    hits, heading, easy_hits, excused_hits = np.moveaxis(sums, 2, 0)
    blamed = np.zeros((shards, len(CUTOFFS) + 1))
    np.add.at(blamed, (found_shard[~flat.excused], flat.steps[~flat.excused]), 1)
    blamed = np.cumsum(blamed[:, ::-1], axis=1)[:, ::-1][:, 1:]  # detections that pass each cut-off
    positives = hits + blamed - (hits - excused_hits)
    total = np.bincount(truth_shard, minlength=shards)
    easy = np.bincount(truth_shard[~flat.hard], minlength=shards)
    missed = {"L1": easy[:, None] - easy_hits, "L2": total[:, None] - hits}
    counts = {"L1": easy, "L2": total}
    curves = {}
    for level in LEVELS:
        recall = _share(hits, hits + missed[level])
        precision, weighted = (np.where(recall == 0, 1.0, _share(part, positives)) for part in (hits, heading))
        curves[level] = [_Curve(precision[s], weighted[s], recall[s], counts[level][s]) for s in range(shards)]
    return curves


def _objects(objects: Objects, number: Mapping[str, int], frame: int) -> tuple[np.ndarray, ...]:
    absent = [name for name in ("points", "difficulty") if name not in objects.attributes]
    if absent:
        raise PerceptionError(
            f"objects of frame {frame} have the attributes {sorted(objects.attributes)}",
            f"the attribute {absent[0]} of each box",
            "evaluate on waymo",
        )
    points, difficulty = objects.attributes["points"], objects.attributes["difficulty"]
    labels = np.array([number.get(str(name), -1) for name in objects.names], np.int64)
    hard = np.where(difficulty > 0, difficulty >= _HARD, points <= _HARD_POINTS)
    kept = (labels >= 0) & (points > 0)
    return objects.boxes.values.detach().cpu().double().numpy()[kept], labels[kept], hard[kept]


def _detections(detections: Detections, number: Mapping[str, int], zone: np.ndarray | None) -> tuple[np.ndarray, ...]:
    classes = np.array([number.get(name, -1) for name in detections.classes], np.int64)
    labels = classes[detections.labels.detach().cpu().numpy()]
    kept = labels >= 0
    excused = np.zeros(len(labels), bool) if zone is None else np.asarray(zone, bool)
    boxes = detections.boxes.values.detach().cpu().double().numpy()
    return boxes[kept], labels[kept], detections.scores.detach().cpu().float().numpy()[kept], excused[kept]


def _columns(rows: Sequence[tuple[np.ndarray, ...]], empty: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    return [np.concatenate(column) for column in zip(empty, *rows)]


def _offsets(sizes: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), 0.0)
