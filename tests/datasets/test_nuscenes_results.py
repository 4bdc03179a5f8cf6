from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from perception.boxes import Boxes3D
from perception.datasets.nuscenes.geometry import (
    NuscenesCalibration,
    global_to_lidar,
    headings,
    inverse_pose,
    lidar_to_global,
    pose_matrices,
)
from perception.datasets.nuscenes.records import CLASSES, NuscenesBoxes
from perception.datasets.nuscenes.results import detections_to_nuscenes, guess_attributes, read_results, write_results
from perception.errors import PerceptionError
from perception.results import Detections

CLASSES_AND_ONE = (*CLASSES, "animal")


def pose(angles: tuple[float, float, float], place: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("zyx", angles).as_matrix()
    matrix[:3, 3] = place
    return matrix


CALIBRATION = NuscenesCalibration("abc", pose((-1.57, 0.01, 0.02), (0.9, 0, 1.8)), pose((2.0, 0.02, 0), (600, 1600, 0)))


def detections(count: int, seed: int = 0) -> Detections:
    random = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 7, generator=random, dtype=torch.float64) * torch.tensor([80, 80, 2, 4, 3, 2, 6.0])
    boxes[:, :2] -= 40
    boxes[:, 3:6] += 0.2
    velocity = torch.randn(count, 2, generator=random, dtype=torch.float64)
    labels = torch.randint(0, len(CLASSES_AND_ONE), (count,), generator=random)
    return Detections(Boxes3D(boxes, velocity), torch.rand(count, generator=random), labels, CLASSES_AND_ONE)


@pytest.mark.parametrize("angles", [(0, 0, 0), (3.1, 0.02, -0.03), (-1.6, 0, 0.5), (0.1, 0, 3.1), (0.1, 3.0, 0.1)])
def test_boxes_go_to_the_global_frame_and_back(angles: tuple[float, float, float]) -> None:
    found = detections(40)
    boxes, velocity = found.boxes.values.numpy(), found.boxes.velocity.numpy()  # type: ignore[union-attr]
    there = pose(angles, (600, 1600, 2))
    translation, size, rotation, speed = lidar_to_global(boxes, velocity, there)
    turn = Rotation.from_matrix(there[:3, :3])
    expected = turn * Rotation.from_rotvec(boxes[:, [6]] * [0, 0, 1])
    assert np.abs((Rotation.from_quat(rotation[:, [1, 2, 3, 0]]) * expected.inv()).magnitude()).max() < 1e-7
    np.testing.assert_allclose(translation, turn.apply(boxes[:, :3]) + there[:3, 3], atol=1e-9)
    np.testing.assert_allclose(speed, turn.apply(np.column_stack([velocity, np.zeros(40)]))[:, :2], atol=1e-12)
    moved = turn.apply(np.column_stack([velocity, np.zeros(40)]))
    again, back = global_to_lidar(translation, size, rotation, moved, there)
    np.testing.assert_allclose(again[:, :6], boxes[:, :6], atol=1e-9)
    np.testing.assert_allclose(np.cos(again[:, 6] - boxes[:, 6]), 1, atol=1e-12)
    np.testing.assert_allclose(back, velocity, atol=1e-12)
    np.testing.assert_allclose(inverse_pose(there) @ there, np.eye(4), atol=1e-12)


def test_quaternions_of_any_length() -> None:
    quaternion = np.array([[2 * np.cos(0.3), 0, 0, 2 * np.sin(0.3)]])
    assert headings(quaternion) == pytest.approx(0.6)
    assert pose_matrices(np.ones((1, 3)), quaternion)[0, :3, 3].tolist() == [1, 1, 1]


def test_a_submission_is_read_as_it_was_written(tmp_path: Path) -> None:
    parts = [detections_to_nuscenes(detections(50, frame), CALIBRATION, frame) for frame in (2, 0)]
    boxes = NuscenesBoxes.concatenate(parts)
    write_results(tmp_path / "r.json", ["a", "b", "c"], boxes)
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["meta"] == {f"use_{k}": k == "lidar" for k in ("camera", "lidar", "radar", "map", "external")}
    assert content["results"]["b"] == []
    first = content["results"]["a"][0]
    assert set(first) == {
        "sample_token",
        "translation",
        "size",
        "rotation",
        "velocity",
        "detection_name",
        "detection_score",
        "attribute_name",
    }
    again = read_results(tmp_path / "r.json", ["c", "a", "b"])
    assert np.unique(again.frame).tolist() == [0, 1]
    order = np.argsort(boxes.frame, kind="stable")
    for name in ("translation", "size", "rotation", "velocity", "names", "attribute", "score"):
        assert np.array_equal(getattr(again, name), getattr(boxes, name)[order]), name


def test_the_best_500_of_the_benchmarks_classes() -> None:
    found = detections(900)
    boxes = detections_to_nuscenes(found, CALIBRATION, 4)
    assert len(boxes) == 500
    assert (np.diff(boxes.score) <= 0).all()
    assert set(boxes.frame.tolist()) == {4}
    assert "animal" not in boxes.names
    assert boxes.score[-1] > np.sort(found.scores.numpy())[-600]


def test_models_without_velocity() -> None:
    found = detections(20)
    still = Detections(Boxes3D(found.boxes.values), found.scores, found.labels, found.classes)
    boxes = detections_to_nuscenes(still, CALIBRATION)
    assert not boxes.velocity.any()
    assert not any(name.endswith("moving") for name in boxes.attribute.tolist())


def test_attributes_are_guessed_by_speed() -> None:
    names = np.repeat(np.array(["car", "bus", "bicycle", "pedestrian", "barrier"]), 2)
    guessed = guess_attributes(names, np.array([[0.0, 0.1], [3.0, 0]] * 5))
    assert guessed.tolist() == [
        "vehicle.parked",
        "vehicle.moving",
        "vehicle.stopped",
        "vehicle.moving",
        "cycle.without_rider",
        "cycle.with_rider",
        "pedestrian.standing",
        "pedestrian.moving",
        "",
        "",
    ]


def broken(**changes: Any) -> dict[str, Any]:
    box = {
        "sample_token": "a",
        "translation": [0, 0, 0],
        "size": [1, 1, 1],
        "rotation": [1, 0, 0, 0],
        "velocity": [0, 0],
        "detection_name": "car",
        "detection_score": 0.5,
        "attribute_name": "",
    }
    return {"meta": {}, "results": {"a": [{**box, **changes}]}}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ([], "no lists under 'results'"),
        ({"results": {}}, "1 samples of the split are missing"),
        ({"results": {"a": [], "z": []}}, "1 are not in it, for example z"),
        ({"results": {"a": [1]}}, "without detection_name"),
        (broken(detection_name="cars"), "did you mean 'car'"),
        (broken(attribute_name="fast"), "attribute_name 'fast'"),
        (broken(size=[1, 1]), "size is not 3 numbers"),
        (broken(size=[1, 0, 1]), "size is not positive"),
        (broken(detection_score=float("nan")), "detection_score is not finite"),
        ({"results": {"a": [broken()["results"]["a"][0]] * 501}}, "501 boxes"),
    ],
)
def test_bad_submissions(tmp_path: Path, content: Any, match: str) -> None:
    (tmp_path / "r.json").write_text(json.dumps(content))
    with pytest.raises(PerceptionError, match=match):
        read_results(tmp_path / "r.json", ["a"])


def test_too_many_boxes_are_not_written(tmp_path: Path) -> None:
    one = detections_to_nuscenes(detections(400), CALIBRATION)
    with pytest.raises(PerceptionError, match="sample a has"):
        write_results(tmp_path / "r.json", ["a"], NuscenesBoxes.concatenate([one, one]))
