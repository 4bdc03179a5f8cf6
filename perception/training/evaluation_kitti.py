"""A detector's KITTI figures over whole data sets, beside the most that perfect boxes reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from perception.datasets.kitti.calibration import KittiCalibration
from perception.datasets.kitti.labels import KittiObjects, format_label_lines
from perception.datasets.kitti.results import detections_to_kitti
from perception.datasets.sample import Sample
from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.metrics.kitti import KittiReport, ceiling, evaluate
from perception.training.evaluation_run import Progress, detect_frames


class LabelledDataset(Protocol):
    """What evaluation asks of a data set: samples, and their labels as KITTI's."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def labels(self, index: int) -> KittiObjects: ...


@dataclass(frozen=True, eq=False)
class KittiEvaluation:
    """``report`` of the model and of perfect boxes (``perfect``) over ``frames`` frames, ``trained_on`` of them seen
    in training as far as the weights' card tells; ``results`` by identifier."""

    report: KittiReport
    perfect: KittiReport
    frames: int
    trained_on: int
    results: dict[str, KittiObjects]
    title: str = "strict overlaps, percent"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "frames": self.frames,
            "frames_trained_on": self.trained_on,
            "objects": dict(self.report.objects),
            "average_precision": dict(self.report.values),
            "perfect_boxes": dict(self.perfect.values),
        }

    def table(self) -> str:
        """Strict AP in percent, each beside the ceiling that perfect boxes reach on these frames."""
        lines = [f"{'R40 (ceiling) | R11 (ceiling)':<34}{'easy':>31}{'moderate':>31}{'hard':>31}"]
        for name in self.report.classes:
            counts = [self.report.objects[f"{name}/{level}"] for level in ("easy", "moderate", "hard")]
            lines.append(f"{name}, objects {counts[0]} / {counts[1]} / {counts[2]}")
            for metric in ("image", "bev", "3d", "aos"):
                cells = [self._cell(f"{name}_{metric}/{level}") for level in ("easy", "moderate", "hard")]
                lines.append(f"  {metric:<32}" + "".join(f"{cell:>31}" for cell in cells))
        return "\n".join(lines)

    def write_results(self, path: Path) -> None:
        """One file of result lines a frame in the folder ``path``, as the benchmark takes them."""
        for identifier, objects in self.results.items():
            file_path = path / f"{identifier}.txt"
            file_path.parent.mkdir(parents=True, exist_ok=True)
            with write_atomically(file_path, "w") as file:
                file.write(format_label_lines(objects))

    def _cell(self, key: str) -> str:
        of = self.report.values, self.perfect.values
        r40, r11 = ([values[f"{key}{suffix}"] for values in of] for suffix in ("_R40", ""))
        return f"{r40[0]:.2f} ({r40[1]:.2f}) | {r11[0]:.2f} ({r11[1]:.2f})"


def evaluate_kitti(
    model: nn.Module, datasets: Sequence[LabelledDataset], trained_on: str = "", progress: Progress = iter
) -> KittiEvaluation:
    """Run the model, in eval mode, over every frame of the data sets and evaluate all of them together.

    ``trained_on`` is the line of the weights' card; ``progress`` wraps the list of (data set, index) pairs. Classes are
    those of the model that the benchmark knows. Raises PerceptionError for data without labels or calibration.
    """
    pairs, results, known = [], {}, 0
    for found in detect_frames(model, datasets, trained_on, progress):
        calibration = found.sample.calibration
        if not isinstance(calibration, KittiCalibration) or not hasattr(datasets[found.number], "labels"):
            raise PerceptionError(
                f"frame {found.sample.identifier} has no KITTI calibration and labels",
                "a data set of KITTI's layout: the metric measures in its image",
                "evaluate on kitti or kitti_raw",
            )
        objects = detections_to_kitti(found.detections, calibration)
        pairs.append((datasets[found.number].labels(found.index), objects))
        results[found.sample.identifier] = objects
        known += found.trained_on
    if not pairs:
        raise PerceptionError("no frames to evaluate", "one or more", "check --data and --split")
    classes = [name for name in ("Car", "Pedestrian", "Cyclist") if name in model.classes]  # type: ignore[operator]
    perfect = ceiling([labels for labels, _ in pairs], classes)
    return KittiEvaluation(evaluate(pairs, classes), perfect, len(pairs), known, results)
