"""A detector's Argoverse 2 figures over whole splits, and its results as the benchmark takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from perception.datasets.argoverse2.dataset import Argoverse2
from perception.datasets.argoverse2.labels import CATEGORIES
from perception.datasets.argoverse2.map import DrivableArea, find_map, read_drivable_area
from perception.datasets.argoverse2.results import write_results
from perception.datasets.sample import Sample
from perception.errors import PerceptionError
from perception.metrics.argoverse2 import Argoverse2Report, evaluate
from perception.results import Detections
from perception.training.evaluation_run import Progress, detect_frames, of_classes


@dataclass(frozen=True, eq=False)
class Argoverse2Evaluation:
    """``report`` over ``frames`` sweeps, whose ``results`` are detections by identifier; ``in_region``: within the
    benchmark's region of interest alone."""

    report: Argoverse2Report
    frames: int
    trained_on: int
    results: Sequence[tuple[str, Detections]]
    in_region: bool

    @property
    def title(self) -> str:
        region = "in the region of interest" if self.in_region else "everywhere, for logs without maps"
        return f"Argoverse 2 detection {region}, errors in m, 1 - IoU, rad"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        means = {name: self.report.mean(name) for name in ("ap", "ate", "ase", "aoe", "cds")}
        return {
            "frames": self.frames,
            "frames_trained_on": self.trained_on,
            "in_region": self.in_region,
            "argoverse2": {"mean": means, **{name: asdict(s) for name, s in self.report.categories.items()}},
        }

    def table(self) -> str:
        """The evaluator's table: categories that these sweeps lack count as not found."""
        return self.report.table()

    def write_results(self, path: Path) -> None:
        """The submission file, a Feather table."""
        write_results(path, self.results)


def evaluate_argoverse2(
    model: nn.Module, datasets: Sequence[Argoverse2], trained_on: str = "", progress: Progress = iter
) -> Argoverse2Evaluation:
    """Run the model, in eval mode, over every labelled sweep and evaluate all of them together.

    As the benchmark does, all 26 categories count, also those that the model does not know, and only the region of
    interest, if every log has its map.
    """
    classes: Any = model.classes
    evaluated = [name for name in classes if name.upper() in CATEGORIES]
    if not evaluated:
        raise PerceptionError(f"the model's classes are {classes}", f"some of {', '.join(CATEGORIES)}", "")
    paths = {log.folder.name: find_map(log.folder) for dataset in datasets for log in dataset.logs}
    areas = {name: read_drivable_area(path) for name, path in paths.items() if path is not None}
    frames, results, regions, known = [], [], [], 0
    for found in detect_frames(model, datasets, trained_on, progress):
        sample, detections = found.sample, found.detections
        if sample.objects is None:
            raise PerceptionError(f"sweep {sample.identifier} has no labels", "a labelled split", "use val")
        if len(areas) == len(paths):
            regions.append(_in_region(sample, detections, areas[sample.identifier.rpartition("/")[0]]))
        frames.append((sample.objects, detections))
        results.append((sample.identifier, of_classes(detections, evaluated)))
        known += found.trained_on
    report = evaluate(frames, regions=regions if len(regions) == len(frames) else None)
    return Argoverse2Evaluation(report, len(frames), known, results, bool(regions))


def _in_region(sample: Sample, detections: Detections, area: DrivableArea) -> tuple[np.ndarray, np.ndarray]:
    pose = sample.cloud.metadata["pose"]
    assert isinstance(pose, np.ndarray)
    assert sample.objects is not None
    objects, found = (area.in_region(boxes.values.numpy(), pose) for boxes in (sample.objects.boxes, detections.boxes))
    return objects, found
