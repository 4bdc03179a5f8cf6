"""A detector's Waymo Open figures over whole splits, and its results as the evaluator takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from perception.datasets.waymo.dataset import Waymo
from perception.datasets.waymo.results import write_results
from perception.errors import PerceptionError
from perception.metrics.waymo import CLASSES, WaymoReport, evaluate
from perception.results import Detections
from perception.training.evaluation_run import Progress, detect_frames, of_classes


@dataclass(frozen=True, eq=False)
class WaymoEvaluation:
    """``report`` over ``frames`` frames, whose ``results`` are detections by identifier."""

    report: WaymoReport
    frames: int
    trained_on: int
    results: Sequence[tuple[str, Detections]]
    title: str = "Waymo Open detection, no-label zones not excused"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "frames": self.frames,
            "frames_trained_on": self.trained_on,
            "waymo": dict(self.report.values),
            "objects": dict(self.report.objects),
        }

    def table(self) -> str:
        """AP and APH in percent at both levels, over all and by range."""
        return self.report.table()

    def write_results(self, path: Path) -> None:
        """The file of Objects messages that the evaluator reads."""
        write_results(path, self.results)


def evaluate_waymo(
    model: nn.Module, datasets: Sequence[Waymo], trained_on: str = "", progress: Progress = iter
) -> WaymoEvaluation:
    """Run the model, in eval mode, over every frame and evaluate all of them together, by the model's classes."""
    classes: Any = model.classes
    known_classes = [name for name in CLASSES if name in classes]
    if not known_classes:
        raise PerceptionError(f"the model's classes are {classes}", f"some of {', '.join(CLASSES)}", "train on waymo")
    frames, results, known = [], [], 0
    for found in detect_frames(model, datasets, trained_on, progress):
        if found.sample.objects is None:
            raise PerceptionError(f"frame {found.sample.identifier} has no labels", "a labelled split", "")
        frames.append((found.sample.objects, found.detections))
        results.append((found.sample.identifier, of_classes(found.detections, known_classes)))
        known += found.trained_on
    return WaymoEvaluation(evaluate(frames, known_classes), len(frames), known, results)
