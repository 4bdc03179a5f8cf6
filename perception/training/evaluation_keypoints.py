"""A model of keypoints over whole splits: the figures of the Waymo Open pose estimation benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from perception.datasets.sample import Dataset, Objects
from perception.errors import PerceptionError
from perception.io.detections import write_json
from perception.io.skeletons import skeletons_to_plain
from perception.keypoints import WAYMO_SKELETON
from perception.metrics.keypoints import KeypointReport, Matching, evaluate
from perception.results import Skeletons
from perception.training.evaluation_run import Progress, detect_frames


@dataclass(frozen=True, eq=False)
class KeypointEvaluation:
    """``report`` over ``frames`` frames, whose ``results`` are plain values by identifier."""

    report: KeypointReport
    frames: int
    trained_on: int
    results: Sequence[tuple[str, dict[str, Any]]]
    title: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "frames": self.frames,
            "frames_trained_on": self.trained_on,
            "keypoints": {name: dict(groups) for name, groups in self.report.values.items()},
            "people": dict(self.report.people),
            "by_distance": [asdict(band) for band in self.report.bands],
        }

    def table(self) -> str:
        """MPJPE, OKS and PEM by group of joints."""
        return self.report.table()

    def write_results(self, path: Path) -> None:
        """One JSON file with the people of every frame."""
        write_json(path, dict(self.results))


def evaluate_keypoints(
    model: nn.Module,
    datasets: Sequence[Dataset],
    trained_on: str = "",
    progress: Progress = iter,
    matching: Matching = "error",
) -> KeypointEvaluation:
    """Run the model, in eval mode, over every frame and evaluate all of them together.

    Labels of other classes than the model learned are no people: a data set's own names for those that it did learn
    are ``Human``, ``Pedestrian`` and ``Cyclist``.
    """
    skeleton = getattr(model, "skeleton", WAYMO_SKELETON)
    names = {*getattr(model, "classes", ()), "Human", "Pedestrian", "Cyclist"}
    frames: list[tuple[Objects, Skeletons]] = []
    results, known = [], 0
    for found in detect_frames(model, datasets, trained_on, progress):
        sample = found.sample
        people: Any = found.detections  # of a model of keypoints: Skeletons
        if sample.objects is None:
            raise PerceptionError(f"frame {sample.identifier} has no labels", "a labelled split", "")
        rows = np.array([str(name) in names for name in sample.objects.names], dtype=bool)
        frames.append((sample.objects.select(rows), people))
        results.append((sample.identifier, skeletons_to_plain(people, sample.cloud, {})))
        known += found.trained_on
    title = f"keypoints, people matched by {'joints' if matching == 'error' else 'boxes'}"
    return KeypointEvaluation(evaluate(frames, skeleton, matching), len(frames), known, results, title)
