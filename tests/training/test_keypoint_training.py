"""Training on people with joints: what reaches the loss, a run from beginning to end, and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perception.boxes import Boxes3D
from perception.datasets.sample import Objects, Sample
from perception.errors import PerceptionError
from perception.keypoints import WAYMO_SKELETON
from perception.models.loading import load
from perception.points import PointCloud
from perception.training import fit
from perception.training.data import Augmented, collate
from perception.training.evaluation_keypoints import evaluate_keypoints
from perception.training.keypoint_module import KeypointTraining, joints_of
from perception.training.settings import check_experiment


class Crowd:
    """Scenes of people whose joints are dense blobs of points, one beyond the range, one without labels."""

    def __init__(self, length: int = 2) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        generator = np.random.default_rng(index)
        places = np.array([[5.0, -3, 0], [9, 3, 0], [40, 0, 0], [4, 4, 0]]) + np.array([0.4 * index, 0.2, 0])
        joints = places[:, None] + generator.uniform(-0.4, 0.4, (4, 14, 3)) * [0.6, 0.6, 1.8]
        xyz = joints[:, :, None] + generator.normal(0, 0.04, (4, 14, 8, 3))
        joints[3] = np.nan
        boxes = np.column_stack([places, np.tile([0.7, 0.6, 1.8, 0.5], (4, 1))]).astype(np.float32)
        attributes = {"keypoints": joints.astype(np.float32), "keypoints_visible": generator.random((4, 14)) < 0.8}
        names = np.array(["Pedestrian", "Cyclist", "Pedestrian", "Pedestrian"])
        return Sample(
            f"crowd_{index}",
            PointCloud(xyz.reshape(-1, 3)),
            Objects(Boxes3D(torch.from_numpy(boxes)), names, attributes),
        )

    def frames(self) -> dict[str, list[str]]:
        return {"street": []}


@pytest.fixture
def settings() -> dict[str, Any]:
    return {
        "model": "voxelkp-small",
        "overrides": {
            "point_range": [0.0, -6.4, -3.0, 12.8, 6.4, 3.0],
            "channels": [8, 8, 8, 16, 16, 16],
            "blocks": [1, 1, 1, 1, 1, 1],
            "head_channels": 32,
            "selection": {"score_threshold": 0.1},
        },
        "classes": {"Pedestrian": "Human", "Cyclist": "Human"},
        "data": {"train": [{"name": "street", "options": {"length": 2}}]},
        "augment": {"flip_x": 0.0, "rotation": [0, 0], "scaling": [1, 1]},
        "training": {"epochs": 60, "batch_size": 2, "workers": 0, "threads": 1, "learning_rate": 0.01},
    }


def test_boxes_and_joints_stay_together(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    module = fit.build(check_experiment(settings, "test"))
    assert isinstance(module, KeypointTraining)
    taken = {}

    def loss(predictions: Any, boxes: Any, labels: Any, keypoints: Any) -> dict[str, torch.Tensor]:
        taken.update(boxes=boxes, labels=labels, keypoints=keypoints)
        return {"loss": torch.zeros(())}

    monkeypatch.setattr(module.model, "loss", loss)
    module.losses(collate([Crowd()[0], Crowd()[1]]))
    assert [len(box) for box in taken["boxes"]] == [3, 3]
    assert all((label == 0).all() for label in taken["labels"])
    for box, joints in zip(taken["boxes"], taken["keypoints"]):
        assert joints.positions.shape == (3, 14, 3)
        labelled = joints.labelled.any(1)
        assert labelled.tolist() == [True, True, False]
        assert (joints.positions[labelled] - box[labelled][:, None, :3]).abs().max() < 1


def test_a_run_learns_the_joints_of_two_scenes(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "Pool", lambda entries, where: Crowd())
    settings["training"] |= {"picture_every": 60}
    experiment = check_experiment(settings, "test")
    batch = collate([Augmented(Crowd())[(0, i)] for i in range(2)])
    before = fit.build(experiment).losses(batch)
    outcome = fit.train(experiment, tmp_path / "run")
    assert outcome.weights is not None
    assert (outcome.folder / "pictures/epoch_060.png").is_file()
    model = load(outcome.weights)
    after = model.loss(  # type: ignore[call-arg]
        model(model.voxelise(model.points(batch.clouds))), *targets(batch)
    )
    assert after["joints"] < before["joints"] / 2
    evaluation = evaluate_keypoints(model, [Crowd()])
    assert evaluation.frames == 2
    assert set(evaluation.as_dict()["keypoints"]) == {"mpjpe", "oks", "pem"}
    assert "MPJPE" in evaluation.table()
    evaluation.write_results(tmp_path / "people.json")
    assert (tmp_path / "people.json").is_file()


def test_frozen_parts_keep_weights_and_statistics(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "Pool", lambda entries, where: Crowd())
    settings["training"] |= {"epochs": 2, "frozen": ["backbone", "head"]}
    experiment = check_experiment(settings, "test")
    before = {name: value.clone() for name, value in fit.build(experiment).model.state_dict().items()}
    outcome = fit.train(experiment, tmp_path / "run")
    assert outcome.weights is not None
    after = load(outcome.weights).state_dict()
    for name, value in before.items():
        kept = name.startswith(("backbone", "head"))
        assert torch.equal(value, after[name]) == kept, name


@pytest.mark.parametrize(("frozen", "message"), [("bakbone", "backbone"), ("", "a part of the model")])
def test_frozen_parts_that_are_none(settings: dict[str, Any], frozen: str, message: str) -> None:
    settings["training"] |= {"frozen": [frozen]}
    with pytest.raises(PerceptionError, match=message):
        fit.build(check_experiment(settings, "test"))


def test_nothing_left_to_learn(settings: dict[str, Any]) -> None:
    settings["training"] |= {"frozen": ["backbone", "head", "refiner"]}
    with pytest.raises(PerceptionError, match="nothing to learn"):
        fit.build(check_experiment(settings, "test"))


def targets(batch: Any) -> tuple[list[torch.Tensor], list[torch.Tensor], list[Any]]:
    rows = torch.tensor([0, 1, 3])
    boxes = [objects.boxes.values[rows] for objects in batch.objects]
    joints = [joints_of(objects, 14, "made").select(rows) for objects in batch.objects]
    return boxes, [torch.zeros(3, dtype=torch.int64)] * 2, joints


def test_labels_of_another_skeleton_name_the_frame() -> None:
    objects = Objects(Boxes3D(torch.ones(1, 7)), np.array(["Pedestrian"]), {"keypoints": np.zeros((1, 17, 3))})
    with pytest.raises(PerceptionError, match=r"frame abc: keypoints of shape \(1, 17, 3\)"):
        joints_of(objects, len(WAYMO_SKELETON.joints), "abc")
    plain = Objects(Boxes3D(torch.ones(1, 7)), np.array(["Pedestrian"]))
    assert not joints_of(plain, 14, "abc").labelled.any()
