"""A detector over whole data sets: its KITTI figures, the most that perfect boxes reach, and frames it has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from perception.datasets.kitti_calibration import KittiCalibration
from perception.datasets.kitti_labels import KittiObjects
from perception.datasets.kitti_results import detections_to_kitti
from perception.datasets.sample import Sample
from perception.errors import PerceptionError
from perception.metrics.kitti import KittiReport, ceiling, evaluate
from perception.pipeline import perceive
from perception.training.provenance import frames_of


class LabelledDataset(Protocol):
    """What evaluation asks of a data set: samples, and their labels as KITTI's."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def labels(self, index: int) -> KittiObjects: ...


@dataclass(frozen=True)
class Evaluation:
    """``report`` of the model and of perfect boxes (``perfect``) over ``frames`` frames, ``trained_on`` of them seen
    in training as far as the weights' card tells."""

    report: KittiReport
    perfect: KittiReport
    frames: int
    trained_on: int

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

    def _cell(self, key: str) -> str:
        of = self.report.values, self.perfect.values
        r40, r11 = ([values[f"{key}{suffix}"] for values in of] for suffix in ("_R40", ""))
        return f"{r40[0]:.2f} ({r40[1]:.2f}) | {r11[0]:.2f} ({r11[1]:.2f})"


def evaluate_kitti(
    model: nn.Module,
    datasets: Sequence[LabelledDataset],
    trained_on: str = "",
    progress: Callable[[Iterable[tuple[int, int]]], Iterable[tuple[int, int]]] = iter,
) -> Evaluation:
    """Run the model, in eval mode, over every frame of the data sets and evaluate all of them together.

    ``trained_on`` is the line of the weights' card; ``progress`` wraps the list of (data set, index) pairs. Classes are
    those of the model that the benchmark knows. Raises PerceptionError for data without labels or calibration.
    """
    seen: set[str] = set().union(*frames_of(trained_on).values())
    found, known = [], 0
    for number, index in progress([(d, i) for d, dataset in enumerate(datasets) for i in range(len(dataset))]):
        sample = datasets[number][index]
        if not isinstance(sample.calibration, KittiCalibration) or not hasattr(datasets[number], "labels"):
            raise PerceptionError(
                f"frame {sample.identifier} has no KITTI calibration and labels",
                "a data set of KITTI's layout: the metric measures in its image",
                "evaluate on kitti or kitti_raw",
            )
        known += sample.identifier in seen
        detections: Any = perceive(model, [sample.cloud])[0]  # type: ignore[arg-type]
        labels = datasets[number].labels(index)
        found.append((labels, detections_to_kitti(detections.cpu(), sample.calibration)))
    if not found:
        raise PerceptionError("no frames to evaluate", "one or more", "check --data and --split")
    classes = [name for name in ("Car", "Pedestrian", "Cyclist") if name in model.classes]  # type: ignore[operator]
    perfect = ceiling([labels for labels, _ in found], classes)
    return Evaluation(evaluate(found, classes), perfect, len(found), known)
