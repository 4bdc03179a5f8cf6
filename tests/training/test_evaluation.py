from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from perception.datasets.kitti.dataset import KittiDetection
from perception.datasets.kitti.raw import KittiRaw
from perception.errors import PerceptionError
from perception.heads.anchor_head import AnchorPredictions
from perception.heads.anchors import assign
from perception.io.weights import Card, save_weights
from perception.models.catalogue import entry
from perception.points import PointBatch, PointCloud
from perception.simulate.dataset import StreetDataset
from perception.training.data import Pool
from perception.training.evaluation import evaluate_kitti
from perception.training.provenance import describe_frames
from perception.training.settings import DataEntry
from perception.training.targets import Targets


class _Oracle(torch.nn.Module):
    """Predicts at every anchor exactly what the loss asks of the real detector there."""

    task, stages = "detection", ()

    def __init__(self, datasets: list[Any]) -> None:
        super().__init__()
        inner: Any = entry("second").make(entry("second").defaults)
        self.inner, self.classes = inner, inner.classes
        targets = Targets(self.classes, inner.config.point_range, {})
        samples = [dataset[i] for dataset in datasets for i in range(len(dataset))]
        self.wanted = {s.cloud.xyz.tobytes(): targets(s.cloud, s.objects, s.identifier) for s in samples}
        inner.head(torch.zeros(1, inner.bev.channels, 200, 176))  # makes the anchors

    def points(self, clouds: list[PointCloud]) -> PointBatch:
        (self.cloud,) = clouds
        return PointBatch.from_clouds(clouds)

    def voxelise(self, points: PointBatch) -> PointBatch:
        return points

    def with_views(self, points: PointBatch, views: list[Any]) -> PointBatch:
        return points

    def forward(self, points: PointBatch) -> AnchorPredictions:
        anchors = self.inner.head.anchors
        boxes, labels = self.wanted[self.cloud.xyz.tobytes()]
        target = assign(anchors, self.inner.config.classes, boxes, labels)
        scores = torch.nn.functional.one_hot(target.labels.clamp(min=0), 4)[:, 1:] * 20.0 - 10
        directions = torch.zeros(len(scores), 2)
        turned = (target.headings - 0.78539) % (2 * torch.pi)
        directions[torch.arange(len(scores)), (turned >= torch.pi).long()] = 1.0
        return AnchorPredictions(scores[None], target.residuals[None], directions[None], anchors)

    def results(self, predictions: AnchorPredictions) -> Any:
        return self.inner.results(predictions)


def test_targets_decoded_again_reach_the_ceiling_on_real_frames(shared_data: Path) -> None:
    datasets: list[Any] = [KittiDetection(shared_data / "kitti_object"), KittiRaw(shared_data / "kitti_raw")]
    result = evaluate_kitti(_Oracle(datasets), datasets)
    assert result.frames == 15
    assert result.trained_on == 0
    assert result.report.objects["Car/moderate"] >= 20
    for key, best in result.perfect.values.items():
        assert result.report.values[key] >= 0.99 * best, key


def test_the_command_says_which_frames_were_trained_on(shared_data: Path, tmp_path: Path) -> None:
    small = entry("pointpillars-small")
    pool = Pool([DataEntry("kitti", {"root": str(shared_data / "kitti_object"), "identifiers": ["000001", "000002"]})])
    save_weights(
        tmp_path / "w.safetensors",
        "pointpillars-small",
        small.make(small.defaults),
        Card(describe_frames(pool.frames())),
    )
    root = Path(__file__).parents[2]
    command = [
        sys.executable,
        str(root / "tools" / "evaluate.py"),
        str(tmp_path / "w.safetensors"),
        "--split",
        "training",
    ]
    command += ["--data", f"kitti:{shared_data / 'kitti_object'}", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=100, env={"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert "NOTE: 2 of these frames were trained on" in done.stdout
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (found["frames"], found["frames_trained_on"]) == (7, 2)
    assert set(found["average_precision"]) == set(found["perfect_boxes"])


def test_data_without_calibration_is_an_error() -> None:
    small = entry("pointpillars-small")
    with pytest.raises(PerceptionError, match="no KITTI calibration"):
        evaluate_kitti(small.make(small.defaults), [StreetDataset(1)])  # type: ignore[list-item]
