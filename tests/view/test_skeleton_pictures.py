"""Pictures of skeletons: left and right in their colours, for nobody, for labels beside them, and for odd joints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from perception.boxes import Boxes3D
from perception.datasets.sample import Objects
from perception.keypoints import WAYMO_SKELETON
from perception.points import PointCloud
from perception.results import Skeletons
from perception.view.colours import rgb
from perception.view.skeletons import LEFT, RIGHT, skeletons_from_above, skeletons_in_perspective

PICTURES = [skeletons_in_perspective, skeletons_from_above]
# A person of 1.8 m who faces +x, arms away from the body.
STANDING = np.array(
    [[0.1, 0, 1.6], [0, 0.2, 1.4], [0, -0.2, 1.4], [0, 0.35, 1.15], [0, -0.35, 1.15], [0, 0.45, 0.9], [0, -0.45, 0.9],
     [0, 0.12, 0.9], [0, -0.12, 0.9], [0.05, 0.13, 0.5], [0.05, -0.13, 0.5], [0, 0.14, 0.1], [0, -0.14, 0.1],
     [0, 0, 1.65]]
)  # fmt: skip


def crowd(count: int) -> tuple[PointCloud, Skeletons]:
    generator = np.random.default_rng(0)
    places = np.column_stack([generator.uniform(8, 14, count), generator.uniform(-4, 4, count), np.full(count, -1.7)])
    joints = places[:, None] + STANDING
    ground = np.column_stack(
        [generator.uniform(-5, 25, (6000, 1)), generator.uniform(-15, 15, (6000, 1)), np.full(6000, -1.7)]
    )
    cloud = PointCloud(np.concatenate([ground, (joints + generator.normal(0, 0.05, joints.shape)).reshape(-1, 3)]))
    boxes = np.column_stack([places + np.array([0, 0, 0.9]), np.tile([0.5, 0.9, 1.8, 0.0], (count, 1))])
    people = Skeletons(
        Boxes3D(torch.from_numpy(boxes).float()),
        torch.linspace(0.9, 0.5, count),
        torch.from_numpy(joints).float(),
        torch.full((count, 14), 0.9),
        WAYMO_SKELETON.joints,
        "Human",
        WAYMO_SKELETON.bones,
    )
    return cloud, people


@pytest.mark.parametrize("picture", PICTURES)
def test_left_and_right_are_drawn(picture, tmp_path: Path) -> None:
    cloud, people = crowd(3)
    path = tmp_path / "people.png"
    picture(cloud, people, path=path, title="scan.bin")
    assert list(tmp_path.iterdir()) == [path]
    image = (imread(path)[..., :3] * 255).round().astype(int)
    for colour in (LEFT, RIGHT):
        assert (np.abs(image - rgb(colour).astype(int)).max(-1) < 12).sum() > 40


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nobody_and_an_empty_cloud(picture, theme: str) -> None:
    cloud, people = crowd(2)
    picture(cloud, people.select(torch.zeros(2, dtype=torch.bool)), theme=theme)
    picture(PointCloud(np.zeros((0, 3))), people.select(torch.tensor([], dtype=torch.int64)), theme=theme)
    picture(PointCloud(np.zeros((0, 3))), people, theme=theme)


@pytest.mark.parametrize("picture", PICTURES)
def test_labels_and_joints_that_are_not_there(picture) -> None:
    cloud, people = crowd(2)
    positions = people.keypoints.numpy().copy()
    positions[0, :5] = np.nan
    attributes = {"keypoints": positions, "keypoints_visible": np.full((2, 14), np.nan)}
    picture(cloud, people, Objects(people.boxes, np.array(["Pedestrian"] * 2), attributes))
    picture(cloud, people, Objects(people.boxes, np.array(["Pedestrian"] * 2)))


def test_a_crowd_is_drawn() -> None:
    cloud, people = crowd(300)
    for picture in PICTURES:
        picture(cloud, people)
