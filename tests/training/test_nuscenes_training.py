"""Training and evaluation on a made nuScenes: velocities, ten classes, the benchmark's table and submission."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perception.boxes import Boxes3D
from perception.datasets.augment import RandomFlip, RandomRotation, sample_generator
from perception.datasets.ground_truth_database import build_database
from perception.datasets.nuscenes.dataset import Nuscenes
from perception.datasets.nuscenes.geometry import global_to_lidar
from perception.datasets.nuscenes.records import CLASSES
from perception.datasets.nuscenes.results import read_results
from perception.errors import PerceptionError
from perception.io.weights import Card, save_weights
from perception.models.catalogue import entry
from perception.points import PointBatch, PointCloud
from perception.results import Detections
from perception.training.data import collate
from perception.training.evaluation import protocol_of
from perception.training.evaluation_nuscenes import evaluate_nuscenes
from perception.training.fit import build
from perception.training.provenance import describe_frames, frames_of
from perception.training.settings import check_experiment, model_settings

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))
from nuscenes_files import Written, write_nuscenes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write_nuscenes(tmp_path_factory.mktemp("nuscenes"), frames=3)


def plain(root: Path, **changes: Any) -> dict[str, Any]:
    return {
        "model": "centerpoint-nuscenes-pillars",
        "overrides": {"point_range": [-19.2, -19.2, -5.0, 19.2, 19.2, 3.0]},
        "data": {"train": [{"name": "nuscenes", "options": {"root": str(root), "split": "mini_train", **changes}}]},
        "augment": {"flip_y": 0.5, "translation": [0.5, 0.5, 0.5]},
        "training": {"epochs": 1, "batch_size": 1, "workers": 0, "threads": 1},
    }


class Oracle(torch.nn.Module):
    """Answers with the labels themselves."""

    task, stages, classes = "detection", (), CLASSES

    def __init__(self, dataset: Nuscenes) -> None:
        super().__init__()
        truth = dataset.truth()
        self.answers = {}
        for i in range(len(dataset)):
            own = truth.boxes.select((truth.boxes.frame == i) & (truth.boxes.points != 0))
            moving = np.column_stack([np.nan_to_num(own.velocity), np.zeros(len(own))])
            pose = dataset.calibration(i).lidar_to_global
            boxes, velocity = global_to_lidar(own.translation, own.size, own.rotation, moving, pose)
            labels = torch.tensor([CLASSES.index(name) for name in own.names.tolist()])
            found = Boxes3D(torch.from_numpy(boxes), torch.from_numpy(velocity))
            answer = Detections(found, torch.ones(len(boxes)), labels, CLASSES)
            self.answers[dataset[i].cloud.xyz.tobytes()] = answer

    def points(self, clouds: list[PointCloud]) -> PointBatch:
        (self.cloud,) = clouds
        return PointBatch.from_clouds(clouds)

    def voxelise(self, points: PointBatch) -> PointBatch:
        return points

    def with_views(self, points: PointBatch, views: list[Any]) -> PointBatch:
        return points

    def forward(self, points: PointBatch) -> None:
        return None

    def results(self, predictions: None) -> list[Detections]:
        return [self.answers[self.cloud.xyz.tobytes()]]


def test_labels_as_detections_are_perfect(made: Written, tmp_path: Path) -> None:
    datasets = [Nuscenes(made.root, split=split, missing="fewer", sweeps=2) for split in ("mini_train", "mini_val")]
    merged = Oracle(datasets[0])
    merged.answers.update(Oracle(datasets[1]).answers)
    result = evaluate_nuscenes(merged, datasets)
    assert result.report is not None
    assert result.perfect is not None
    assert result.frames == 9
    assert result.report.precision == result.perfect.precision
    for name, errors in result.perfect.errors.items():
        # The labels' velocity has its part along z lost on the way through the tilted lidar's frame.
        close = {"velocity": 0.05, "attribute": 1.0}
        for kind, value in errors.items():
            found = result.report.errors[name][kind]
            assert np.isnan(found) == np.isnan(value)
            assert np.isnan(value) or abs(found - value) <= close.get(kind, 2e-3), (name, kind)
    assert "NDS" in result.table()
    result.write_results(tmp_path / "r.json")
    again = read_results(tmp_path / "r.json", result.tokens)
    assert np.array_equal(again.translation, result.results.translation)
    json.dumps(result.as_dict(), allow_nan=False)


def test_a_split_without_labels_gives_results_only(tmp_path: Path) -> None:
    made = write_nuscenes(tmp_path, frames=2)
    oracle = Oracle(Nuscenes(made.root, split="mini_train", sweeps=1))
    (made.root / "v1.0-mini" / "sample_annotation.json").write_text("[]")
    result = evaluate_nuscenes(oracle, [Nuscenes(made.root, split="mini_train", sweeps=1)])
    assert result.report is None
    assert len(result.results) > 5
    assert "no labels" in result.table()


def test_velocity_turns_with_its_box(made: Written) -> None:
    sample = Nuscenes(made.root, split="mini_train", sweeps=1)[1]
    assert sample.objects is not None
    assert sample.objects.boxes.velocity is not None
    fast = sample.objects.boxes.velocity.norm(dim=1) > 0.5  # NaN is not
    for step in (RandomFlip(1.0, 0.0), RandomFlip(0.0, 1.0), RandomFlip(1.0, 1.0), RandomRotation(0.7, 0.9)):
        moved = step(sample, sample_generator(0, 0, 0)).objects
        assert moved is not None
        assert moved.boxes.velocity is not None
        angles = [
            torch.atan2(boxes.velocity[fast, 1], boxes.velocity[fast, 0]) - boxes.heading[fast]  # type: ignore[index]
            for boxes in (sample.objects.boxes, moved.boxes)
        ]
        # A mirrored object drives as far to the left of its heading as it drove to the right.
        mirrored = isinstance(step, RandomFlip) and step.along_x != step.along_y
        torch.testing.assert_close(angles[1].cos(), angles[0].cos(), atol=1e-4, rtol=0)
        torch.testing.assert_close(angles[1].sin(), angles[0].sin() * (-1 if mirrored else 1), atol=1e-4, rtol=0)
        assert torch.equal(moved.boxes.velocity.isnan(), sample.objects.boxes.velocity.isnan())


def test_training_with_velocities_and_pasted_objects(made: Written, tmp_path: Path) -> None:
    dataset = Nuscenes(made.root, split="mini_train")
    build_database(dataset, tmp_path / "database.npz", CLASSES)
    values = plain(made.root, sweeps=3)
    values["augment"]["ground_truth_sampling"] = {"database": str(tmp_path / "database.npz"), "groups": {"car": 4}}
    module = build(check_experiment(values, "test"))
    batch = collate([module.train_data[(0, 1)]])
    boxes, labels = module.targets(batch.clouds[0], batch.objects[0], batch.identifiers[0])
    assert boxes.shape == (len(labels), 9)
    assert boxes[:, 7:].isnan().any()
    losses = module.losses(batch)
    losses["loss"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)


def test_cards_name_frames_shortly(made: Written) -> None:
    identifiers = Nuscenes(made.root, split="mini_train").identifiers
    line = describe_frames({"nuscenes": identifiers})
    assert line == "nuscenes scene-0061/000-002"
    assert frames_of(line)["nuscenes"] == set(identifiers)


def test_the_command(made: Written, tmp_path: Path) -> None:
    experiment = check_experiment(plain(made.root), "test")
    model: Any = entry(experiment.model).make(model_settings(experiment))
    card = Card("nuscenes scene-0103/000-001")
    save_weights(tmp_path / "w.safetensors", experiment.model, model, card)
    root = Path(__file__).parents[2]
    command = [sys.executable, str(root / "tools" / "evaluate.py"), str(tmp_path / "w.safetensors")]
    command += ["--data", f"nuscenes:{made.root}", "--split", "mini_val", "--out", str(tmp_path / "out")]
    command += ["--results", str(tmp_path / "r.json")]
    environment = {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 0, done.stderr
    assert "NOTE: 2 of these frames were trained on" in done.stdout
    assert "NDS: " in done.stdout
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert found["frames"] == 6
    assert set(found["nuscenes"]["average_precision"]) == set(CLASSES)
    assert len(read_results(tmp_path / "r.json", Nuscenes(made.root, split="mini_val").truth().tokens)) > 0


def test_what_cannot_be_evaluated(made: Written) -> None:
    dataset = Nuscenes(made.root, split="mini_train")
    with pytest.raises(PerceptionError, match="there twice"):
        evaluate_nuscenes(Oracle(dataset), [dataset, dataset])
    small = entry("pointpillars-small")
    with pytest.raises(PerceptionError, match="some of car, truck"):
        evaluate_nuscenes(small.make(small.defaults), [dataset])
    with pytest.raises(PerceptionError, match="no benchmark is known"):
        protocol_of(["street"])
    with pytest.raises(PerceptionError, match="one benchmark"):
        protocol_of(["kitti", "nuscenes"])
