"""Average precision of the KITTI object benchmark: image, bird's-eye view, 3D and orientation, R11 and R40.

Geiger et al. 2012 and the object development kit's evaluator; R40 after Simonelli et al. 2019. R11 averages the
precision at recall 0, 0.1, ..., 1 and R40 at 1/40, 2/40, ..., 1, so the two cannot be compared with each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from perception.datasets.kitti.labels import KittiObjects
from perception.errors import PerceptionError, nearest
from perception.metrics.kitti_matching import COUNTS, OTHER, TOLERATED, count, matched_scores
from perception.metrics.kitti_overlap import METRICS, image_overlap, overlaps

Frame = tuple[KittiObjects, KittiObjects]

DIFFICULTIES = ("easy", "moderate", "hard")
MINIMUM_HEIGHT = (40, 25, 25)
MAXIMUM_OCCLUSION = (0, 1, 2)
MAXIMUM_TRUNCATION = (0.15, 0.3, 0.5)
RECALL_STEPS = 40
NO_ORIENTATION = -10

# Least overlap in the image, from above and in space that finds an object: the benchmark's own, and a looser one.
STRICT: dict[str, tuple[float, float, float]] = {
    "Car": (0.7, 0.7, 0.7),
    "Pedestrian": (0.5, 0.5, 0.5),
    "Cyclist": (0.5, 0.5, 0.5),
    "Van": (0.7, 0.7, 0.7),
    "Person_sitting": (0.5, 0.5, 0.5),
    "Truck": (0.7, 0.7, 0.7),
}
LOOSE: dict[str, tuple[float, float, float]] = {
    "Car": (0.7, 0.5, 0.5),
    "Pedestrian": (0.5, 0.25, 0.25),
    "Cyclist": (0.5, 0.25, 0.25),
    "Van": (0.7, 0.5, 0.5),
    "Person_sitting": (0.5, 0.25, 0.25),
    "Truck": (0.5, 0.5, 0.5),
}
# Labels so alike that finding them is neither right nor wrong.
NEIGHBOURS = {"car": "van", "pedestrian": "person_sitting"}


@dataclass(frozen=True)
class KittiReport:
    """``values`` in percent by name: "Car_3d/moderate_R40" (strict overlaps), "Car_3d/moderate" for R11, and with the
    looser overlaps "Car_3d@0.50/moderate_R40". ``objects`` are the labels that count, "Car/moderate" by name."""

    values: Mapping[str, float]
    objects: Mapping[str, int]
    classes: tuple[str, ...]

    def table(self) -> str:
        """The evaluator's usual text: for each class R11 and R40 at the strict and at the looser overlaps."""
        return "".join(line + "\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        for name in self.classes:
            for loose in (False, True):
                limits = ", ".join(f"{limit:.2f}" for limit in (LOOSE if loose else STRICT)[name])
                for suffix in ("", "_R40"):
                    yield f"{name} AP{suffix}@{limits}:"
                    for shown, metric in (("bbox", "image"), ("bev ", "bev"), ("3d  ", "3d"), ("aos ", "aos")):
                        prefix = _prefix(name, metric, loose)
                        if f"{prefix}/easy" not in self.values:
                            continue
                        points = [self.values[f"{prefix}/{level}{suffix}"] for level in DIFFICULTIES]
                        digits = 2 if metric == "aos" else 4
                        yield f"{shown} AP:" + ", ".join(f"{value:.{digits}f}" for value in points)


def evaluate(frames: Sequence[Frame], classes: Sequence[str] = ("Car", "Pedestrian", "Cyclist")) -> KittiReport:
    """Evaluate (labels, detections) of each frame; detections need scores, labels include DontCare regions.

    A detector that writes alpha -10, KITTI's sign for no orientation, gets no values "aos" (the evaluator looks at the
    first detection). Raises PerceptionError for a class that the benchmark does not know and for a detection without
    a score.
    """
    _check(frames, classes)
    flat = _Flat.of(frames)
    oriented = not len(flat.detections) or flat.detections.alpha[0] != NO_ORIENTATION
    values: dict[str, float] = {}
    objects: dict[str, int] = {}
    for name in classes:
        for level, difficulty in enumerate(DIFFICULTIES):
            label_state = _label_state(flat.labels, name, level)
            detection_state = _detection_state(flat.detections, name, level)
            total = objects[f"{name}/{difficulty}"] = int((label_state == COUNTS).sum())
            for index, metric in enumerate(METRICS):
                for loose in (False, True):
                    minimum = (LOOSE if loose else STRICT)[name][index]
                    precision, orientation = _curves(flat, metric, label_state, detection_state, minimum, total)
                    _store(values, _prefix(name, metric, loose), difficulty, precision)
                    if metric == "image" and oriented:
                        _store(values, _prefix(name, "aos", loose), difficulty, orientation)
    return KittiReport(values, objects, tuple(classes))


def ceiling(labels: Sequence[KittiObjects], classes: Sequence[str] = ("Car", "Pedestrian", "Cyclist")) -> KittiReport:
    """What perfect detections reach: with few objects the recall steps keep R40 below 100."""
    perfect = [frame.select(frame.names != "DontCare") for frame in labels]
    scored = [replace(frame, score=np.ones(len(frame))) for frame in perfect]
    return evaluate(list(zip(labels, scored)), classes)


def _check(frames: Sequence[Frame], classes: Sequence[str]) -> None:
    for name in classes:
        if name not in STRICT:
            raise PerceptionError(f"the class {name!r}", f"one of {', '.join(STRICT)}", nearest(name, list(STRICT)))
    for number, (_, found) in enumerate(frames):
        if not np.isfinite(found.score).all():
            raise PerceptionError(
                f"detections without a score in frame {number} of {len(frames)}",
                "(labels, detections) of each frame, every detection with a finite score",
                "check the order of the pair, and that result lines have 16 words",
            )


@dataclass(frozen=True, eq=False)
class _Flat:
    """All frames in flat arrays, DontCare labels taken out and answered for by ``in_dont_care``."""

    labels: KittiObjects
    detections: KittiObjects
    first_label: np.ndarray
    first_detection: np.ndarray
    first_overlap: np.ndarray
    overlap: Mapping[str, np.ndarray]
    dont_care_share: np.ndarray

    @classmethod
    def of(cls, frames: Sequence[Frame]) -> _Flat:
        labels, detections, shares = [], [], []
        overlap: dict[str, list[np.ndarray]] = {metric: [] for metric in METRICS}
        for truth, found in frames:
            dont_care = truth.names == "DontCare"
            shares.append(image_overlap(found.bbox, truth.bbox[dont_care], of_first=True).max(1, initial=0.0))
            truth = truth.select(~dont_care)
            labels.append(truth)
            detections.append(found)
            for metric, matrix in overlaps(found, truth).items():
                overlap[metric].append(matrix.ravel())
        return cls(
            _concatenate(labels),
            _concatenate(detections),
            _offsets([len(part) for part in labels]),
            _offsets([len(part) for part in detections]),
            _offsets([len(a) * len(b) for a, b in zip(labels, detections)]),
            {metric: np.concatenate([np.zeros(0), *parts]) for metric, parts in overlap.items()},
            np.concatenate([np.zeros(0), *shares]),
        )


def _curves(
    flat: _Flat, metric: str, label_state: np.ndarray, detection_state: np.ndarray, minimum: float, total: int
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and orientation similarity at the recall steps 0, 1/40, ..., 1: the best at that recall or more."""
    arrays = (
        flat.overlap[metric],
        flat.first_overlap,
        label_state,
        flat.first_label,
        detection_state,
        flat.first_detection,
        flat.detections.score,
        minimum,
    )
    precision, orientation = np.zeros(RECALL_STEPS + 1), np.zeros(RECALL_STEPS + 1)
    excused = (flat.dont_care_share > minimum) if metric == "image" else np.zeros(len(flat.detections), bool)
    for step, threshold in enumerate(_thresholds(matched_scores(*arrays), total)):
        hits, false, similarity = count(*arrays, threshold, flat.labels.alpha, flat.detections.alpha, excused)
        if hits + false:
            precision[step] = hits / (hits + false)
            orientation[step] = similarity / (hits + false)
    return np.maximum.accumulate(precision[::-1])[::-1], np.maximum.accumulate(orientation[::-1])[::-1]


def _thresholds(scores: np.ndarray, total: int) -> list[float]:
    """Scores at which the recall comes nearest to each of the 41 steps."""
    ordered = np.sort(scores)[::-1]
    chosen: list[float] = []
    recall = 0.0
    for i, score in enumerate(ordered):
        last = i == len(ordered) - 1
        here, following = (i + 1) / total, (i + 1 if last else i + 2) / total
        if following - recall < recall - here and not last:
            continue
        chosen.append(float(score))
        recall += 1 / RECALL_STEPS
    return chosen[: RECALL_STEPS + 1]


def _label_state(labels: KittiObjects, name: str, level: int) -> np.ndarray:
    names = np.char.lower(labels.names.astype(str))
    own, alike = names == name.lower(), names == NEIGHBOURS.get(name.lower(), "")
    height = labels.bbox[:, 3] - labels.bbox[:, 1]
    hard = (labels.occluded > MAXIMUM_OCCLUSION[level]) | (labels.truncated > MAXIMUM_TRUNCATION[level])
    hard |= height <= MINIMUM_HEIGHT[level]
    return np.where(own & ~hard, COUNTS, np.where(own | alike, TOLERATED, OTHER))


def _detection_state(detections: KittiObjects, name: str, level: int) -> np.ndarray:
    own = np.char.lower(detections.names.astype(str)) == name.lower()
    small = np.abs(detections.bbox[:, 3] - detections.bbox[:, 1]) < MINIMUM_HEIGHT[level]
    return np.where(small, TOLERATED, np.where(own, COUNTS, OTHER))


def _store(values: dict[str, float], prefix: str, difficulty: str, curve: np.ndarray) -> None:
    values[f"{prefix}/{difficulty}"] = float(curve[::4].mean() * 100)
    values[f"{prefix}/{difficulty}_R40"] = float(curve[1:].mean() * 100)


def _prefix(name: str, metric: str, loose: bool) -> str:
    return f"{name}_{metric}@{LOOSE[name][1]:.2f}" if loose else f"{name}_{metric}"


def _concatenate(parts: Sequence[KittiObjects]) -> KittiObjects:
    if not parts:
        parts = [KittiObjects(np.zeros(0, str), *_EMPTY)]
    return KittiObjects(**{key: np.concatenate([getattr(p, key) for p in parts]) for key in vars(parts[0])})


_EMPTY = tuple(np.zeros(s) for s in (0, 0, 0, (0, 4), (0, 3), (0, 3), 0, 0))


def _offsets(sizes: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
