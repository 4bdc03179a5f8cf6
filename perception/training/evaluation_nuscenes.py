"""A detector's nuScenes figures over whole splits, and its submission file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from perception.datasets.nuscenes.dataset import Nuscenes
from perception.datasets.nuscenes.geometry import NuscenesCalibration
from perception.datasets.nuscenes.records import CLASSES, NuscenesBoxes, NuscenesTruth
from perception.datasets.nuscenes.results import detections_to_nuscenes, write_results
from perception.errors import PerceptionError
from perception.metrics.nuscenes import NuscenesReport, evaluate, perfect_results
from perception.training.evaluation_run import Progress, detect_frames


@dataclass(frozen=True, eq=False)
class NuscenesEvaluation:
    """``report`` of the model and of perfect boxes over ``frames`` keyframes, None where there are no labels;
    ``results`` with the ``tokens`` of their samples."""

    report: NuscenesReport | None
    perfect: NuscenesReport | None
    frames: int
    trained_on: int
    tokens: tuple[str, ...]
    results: NuscenesBoxes
    title: str = "nuScenes detection, errors in m, 1 - IoU, rad, m/s, 1 - accuracy"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "frames": self.frames,
            "frames_trained_on": self.trained_on,
            "nuscenes": None if self.report is None else self.report.as_dict(),
            "perfect_boxes": None if self.perfect is None else self.perfect.as_dict(),
        }

    def table(self) -> str:
        """The benchmark's text, and what perfect boxes reach: classes that these frames lack count as not found."""
        if self.report is None or self.perfect is None:
            return "these frames have no labels: results only"
        ceiling = f"perfect boxes on these frames: mAP {self.perfect.mean_precision:.4f}, NDS {self.perfect.score:.4f}"
        return f"{self.report.table()}\n{ceiling}"

    def write_results(self, path: Path) -> None:
        """The submission file."""
        write_results(path, self.tokens, self.results)


def evaluate_nuscenes(
    model: nn.Module, datasets: Sequence[Nuscenes], trained_on: str = "", progress: Progress = iter
) -> NuscenesEvaluation:
    """Run the model, in eval mode, over every keyframe of the data sets and evaluate all of them together.

    As the benchmark does, all ten classes count, also those that the model does not know. Raises PerceptionError where
    a keyframe is there twice and where the model knows no class of the benchmark.
    """
    classes = model.classes
    if not set(classes) & set(CLASSES):  # type: ignore[arg-type]
        raise PerceptionError(
            f"the model's classes are {classes}", f"some of {', '.join(CLASSES)}", "train on nuscenes"
        )
    truth = NuscenesTruth.concatenate([dataset.truth() for dataset in datasets])
    if len(set(truth.tokens)) < len(truth.tokens):
        raise PerceptionError("keyframes that are there twice", "each once", "leave out balanced, or a data set")
    first = np.cumsum([0, *(len(dataset) for dataset in datasets)])
    parts, known = [], 0
    for found in detect_frames(model, datasets, trained_on, progress):
        calibration = found.sample.calibration
        assert isinstance(calibration, NuscenesCalibration)
        parts.append(detections_to_nuscenes(found.detections, calibration, int(first[found.number]) + found.index))
        known += found.trained_on
    results = NuscenesBoxes.concatenate(parts)
    labelled = all(dataset.labelled for dataset in datasets)
    return NuscenesEvaluation(
        evaluate(truth, results) if labelled else None,
        evaluate(truth, perfect_results(truth)) if labelled else None,
        len(truth.tokens),
        known,
        truth.tokens,
        results,
    )
