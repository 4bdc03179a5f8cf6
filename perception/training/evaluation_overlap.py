"""A detector's figures on data without a benchmark of its own: average precision by overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from perception.datasets.sample import Dataset
from perception.errors import PerceptionError
from perception.geometry import points_in_boxes
from perception.metrics.overlap import OverlapFrame, OverlapReport, evaluate_overlap
from perception.training.evaluation_run import Progress, detect_frames

MINIMUM_POINTS = 1


@dataclass(frozen=True, eq=False)
class OverlapEvaluation:
    """``report`` over ``frames`` frames, ``trained_on`` of them seen in training as far as the weights' card tells."""

    report: OverlapReport
    frames: int
    trained_on: int

    @property
    def title(self) -> str:
        return "objects with a point or more, in percent"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""

        def plain(values: Any) -> dict[str, float]:
            return {"/".join(map(str, key)): value for key, value in values.items()}

        return {
            "frames": self.frames,
            "frames_trained_on": self.trained_on,
            "average_precision": plain(self.report.precision),
            "recall": plain(self.report.recall),
            "objects": plain(self.report.objects),
        }

    def table(self) -> str:
        return self.report.table()

    def write_results(self, path: Path) -> None:
        raise PerceptionError("--results for data without a benchmark", "a benchmark's data set", "use --out for JSON")


def evaluate_by_overlap(
    model: nn.Module, datasets: Sequence[Dataset], trained_on: str = "", progress: Progress = iter
) -> OverlapEvaluation:
    """Run the model, in eval mode, over every frame and evaluate all of them together."""
    frames, known = [], 0
    for found in detect_frames(model, datasets, trained_on, progress):
        objects = found.sample.objects
        if objects is None:
            raise PerceptionError(f"frame {found.sample.identifier} has no labels", "labelled frames")
        xyz = torch.from_numpy(found.sample.cloud.xyz)
        counted = (points_in_boxes(xyz, objects.boxes.values).sum(0) >= MINIMUM_POINTS).numpy()
        detections = found.detections
        names = np.array(detections.names, str)
        frames.append(
            OverlapFrame(
                objects.boxes, objects.names.astype(str), counted, detections.boxes, names, detections.scores.numpy()
            )
        )
        known += found.trained_on
    classes: Any = model.classes
    return OverlapEvaluation(evaluate_overlap(frames, classes), len(frames), known)
