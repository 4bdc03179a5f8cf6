"""nuScenes' detection metric: average precision by centre distance, five true-positive errors, and their score NDS.

Caesar et al., "nuScenes: A multimodal dataset for autonomous driving", CVPR 2020, section 3.1, in the configuration of
the benchmark (detection_cvpr_2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from perception.datasets.nuscenes.geometry import headings
from perception.datasets.nuscenes.records import CLASSES, NuscenesBoxes, NuscenesTruth
from perception.errors import PerceptionError, nearest
from perception.metrics.nuscenes_filter import RANGES, in_question
from perception.metrics.nuscenes_matching import match

DISTANCES = (0.5, 1.0, 2.0, 4.0)
ERROR_DISTANCE = 2.0
STEPS = 101
MINIMUM_RECALL, MINIMUM_PRECISION = 0.1, 0.1
PRECISION_WEIGHT = 5
ERRORS = ("translation", "scale", "orientation", "velocity", "attribute")
# A cone looks alike from everywhere, and neither it nor a barrier moves or has attributes.
MEANINGLESS = {"traffic_cone": ("orientation", "velocity", "attribute"), "barrier": ("velocity", "attribute")}


@dataclass(frozen=True)
class NuscenesReport:
    """``precision`` AP by class and distance in [0, 1]; ``errors`` by class and kind: metres, 1 - IoU, radians, m/s and
    1 - accuracy, NaN where a kind has no meaning; ``objects`` labels that count, by class."""

    precision: Mapping[str, Mapping[float, float]]
    errors: Mapping[str, Mapping[str, float]]
    objects: Mapping[str, int]

    @property
    def class_precision(self) -> dict[str, float]:
        """AP of each class, the mean over distances."""
        return {name: float(np.mean(list(values.values()))) for name, values in self.precision.items()}

    @property
    def mean_precision(self) -> float:
        """mAP."""
        return float(np.mean(list(self.class_precision.values())))

    @property
    def mean_errors(self) -> dict[str, float]:
        """Each error as the mean over the classes for which it has a meaning."""
        return {kind: float(np.nanmean([of[kind] for of in self.errors.values()])) for kind in ERRORS}

    @property
    def score(self) -> float:
        """NDS in [0, 1]: mAP and the five errors, weighted five to one each."""
        good = sum(max(0.0, 1 - error) for error in self.mean_errors.values())
        return (PRECISION_WEIGHT * self.mean_precision + good) / (PRECISION_WEIGHT + len(ERRORS))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON: meaningless errors are None."""
        return {
            "mean_average_precision": self.mean_precision,
            "detection_score": self.score,
            "mean_errors": self.mean_errors,
            "average_precision": {n: {str(d): v for d, v in values.items()} for n, values in self.precision.items()},
            "errors": {
                name: {kind: None if np.isnan(value) else value for kind, value in values.items()}
                for name, values in self.errors.items()
            },
            "objects": dict(self.objects),
        }

    def table(self) -> str:
        """The benchmark's text: the score and its parts, then every class."""
        lines = [f"mAP: {self.mean_precision:.4f}"]
        lines += [f"mA{kind[0].upper()}E: {value:.4f}" for kind, value in self.mean_errors.items()]
        lines += [
            f"NDS: {self.score:.4f}",
            "",
            f"{'class':<22}{'AP':>7}{'ATE':>7}{'ASE':>7}{'AOE':>7}{'AVE':>7}{'AAE':>7}",
        ]
        lines[-1] += f"{'objects':>10}"
        for name, average in self.class_precision.items():
            cells = "".join(f"{value:7.3f}" for value in (average, *self.errors[name].values()))
            lines.append(f"{name:<22}{cells}{self.objects[name]:>10,}")
        return "\n".join(lines)


def evaluate(truth: NuscenesTruth, found: NuscenesBoxes) -> NuscenesReport:
    """Evaluate the results of all keyframes of ``truth``; among equal scores the later row of ``found`` comes first.

    Raises PerceptionError for results of another class, without a finite score, or without a frame of ``truth``.
    """
    _check(truth, found)
    labels = truth.boxes.select(in_question(truth.boxes, truth.ego, truth.racks))
    results = found.select(in_question(found, truth.ego, truth.racks))
    precision: dict[str, dict[float, float]] = {}
    errors: dict[str, dict[str, float]] = {}
    objects: dict[str, int] = {}
    for name in CLASSES:
        own = labels.select(labels.names == name)
        own = own.select(np.argsort(own.frame, kind="stable"))
        chosen = results.select(results.names == name)
        chosen = chosen.select(np.argsort(chosen.score, kind="stable")[::-1])
        first = np.searchsorted(own.frame, np.arange(len(truth.tokens) + 1))
        objects[name], precision[name] = len(own), {}
        for distance in DISTANCES:
            pair = match(chosen.frame, chosen.translation[:, :2].copy(), first, own.translation[:, :2].copy(), distance)
            curve = _precision(pair >= 0, len(own))
            precision[name][distance] = _average(curve)
            if distance == ERROR_DISTANCE:
                errors[name] = _class_errors(name, own, chosen, pair)
    return NuscenesReport(precision, errors, objects)


def perfect_results(truth: NuscenesTruth) -> NuscenesBoxes:
    """The labels that hold any point as results: what a perfect detector would write, for unknown velocities zero."""
    boxes = truth.boxes.select(truth.boxes.points != 0)
    unknown = np.full(len(boxes), -1)
    return replace(boxes, velocity=np.nan_to_num(boxes.velocity), score=np.ones(len(boxes)), points=unknown)


def _precision(hits: np.ndarray, total: int) -> np.ndarray:
    """Precision (101,) at recall 0, 0.01, ..., 1 between its values at each result; 0 where recall is not reached."""
    if not hits.any():
        return np.zeros(STEPS)
    right = np.cumsum(hits).astype(float)
    return np.interp(_recalls(), right / total, right / np.arange(1, len(hits) + 1), right=0)


def _average(curve: np.ndarray) -> float:
    """Mean of what exceeds the least precision, beyond the least recall, as a share of the most there can be."""
    beyond = curve[round(100 * MINIMUM_RECALL) + 1 :] - MINIMUM_PRECISION
    return float(np.mean(np.maximum(beyond, 0))) / (1.0 - MINIMUM_PRECISION)


def _class_errors(name: str, labels: NuscenesBoxes, results: NuscenesBoxes, pair: np.ndarray) -> dict[str, float]:
    """Each error as its mean over recalls from the least one to the highest reached; 1 where that is not reached."""
    hits = pair >= 0
    meaningless = MEANINGLESS.get(name, ())
    if not hits.any():
        return {kind: np.nan if kind in meaningless else 1.0 for kind in ERRORS}
    recall = np.cumsum(hits).astype(float) / len(labels)
    score = np.interp(_recalls(), recall, results.score, right=0)
    first, reached = round(100 * MINIMUM_RECALL) + 1, np.flatnonzero(score)
    last = reached[-1] if len(reached) else 0
    values = {}
    for kind, of_pairs in _errors(name, labels.select(pair[hits]), results.select(hits)).items():
        curve = np.interp(score[::-1], results.score[hits][::-1], _running_mean(of_pairs)[::-1])[::-1]
        values[kind] = 1.0 if last < first else float(np.mean(curve[first : last + 1]))
        values[kind] = np.nan if kind in meaningless else values[kind]
    return values


def _errors(name: str, label: NuscenesBoxes, result: NuscenesBoxes) -> dict[str, np.ndarray]:
    """Errors (K,) of K pairs by kind."""
    away, speed = result.translation - label.translation, result.velocity - label.velocity
    common = np.minimum(label.size, result.size).prod(1)
    # A barrier looks the same from both sides.
    period = np.pi if name == "barrier" else 2 * np.pi
    turned = (headings(label.rotation) - headings(result.rotation) + period / 2) % period - period / 2
    return {
        "translation": np.hypot(away[:, 0], away[:, 1]),
        "scale": 1 - common / (label.size.prod(1) + result.size.prod(1) - common),
        "orientation": np.abs(turned),
        "velocity": np.hypot(speed[:, 0], speed[:, 1]),
        "attribute": np.where(label.attribute == "", np.nan, label.attribute != result.attribute),
    }


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Mean up to each place of the values that are not NaN: 0 before the first, 1 throughout where all are."""
    known = ~np.isnan(values)
    if not known.any():
        return np.ones(len(values))
    return np.asarray(np.nancumsum(values) / np.maximum(np.cumsum(known), 1))


def _recalls() -> np.ndarray:
    return np.linspace(0, 1, STEPS)


def _check(truth: NuscenesTruth, found: NuscenesBoxes) -> None:
    if not truth.tokens:
        raise PerceptionError("no keyframes to evaluate", "one or more")
    strange = sorted(set(np.unique(found.names).tolist()) - set(RANGES))
    if strange:
        raise PerceptionError(
            f"results of the class {strange[0]!r}", f"{', '.join(RANGES)}", nearest(strange[0], RANGES)
        )
    if not np.isfinite(found.score).all() or not np.isfinite(found.translation).all() or not (found.size > 0).all():
        raise PerceptionError("results with a score or place that is not finite, or without a size", "real boxes")
    if len(found) and not (found.frame.min() >= 0 and found.frame.max() < len(truth.tokens)):
        raise PerceptionError(f"results of frame {found.frame.max()}", f"frames 0 to {len(truth.tokens) - 1}")
