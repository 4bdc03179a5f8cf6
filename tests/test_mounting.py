"""Scans from other heights are brought to the model's, and what is found goes back to where it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from perception.boxes import Boxes3D
from perception.io.clouds import read_points
from perception.io.importers.plan import configured
from perception.keypoints import WAYMO_SKELETON
from perception.models.detector import Detector
from perception.models.loading import load
from perception.mounting import Mounting, ground_level, mounting_of
from perception.pipeline import perceive
from perception.points import PointCloud
from perception.results import Detections, Skeletons
from perception.simulate.street.scene import street


@pytest.fixture(scope="module")
def model() -> Detector:
    found = load("pointpillars-small")
    assert isinstance(found, Detector)
    return found


def raised(cloud: PointCloud, metres: float) -> PointCloud:
    return cloud.with_xyz(cloud.xyz + np.array([0, 0, metres], np.float32))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_ground_is_where_the_street_has_it(seed: int) -> None:
    level = ground_level(street(seed).cloud)
    assert level is not None
    assert level == pytest.approx(-1.73, abs=0.3)


def test_the_same_things_are_found_from_any_height(model: Detector) -> None:
    cloud = street(5).cloud
    assert mounting_of(cloud, model) == Mounting()  # an ordinary scan stays as it is, bit for bit
    (wanted,) = perceive(model, [cloud])
    for lift in (-1.0, 1.43):
        given = raised(cloud, lift)
        mounting = mounting_of(given, model)
        assert mounting.lift == pytest.approx(-lift, abs=0.2)
        (found,) = perceive(model, [mounting.cloud(given)])
        assert isinstance(found, Detections)
        assert isinstance(wanted, Detections)
        back = mounting.detections(found)
        certain = wanted.scores > 0.6
        apart = torch.cdist(wanted.boxes.centre[certain][:, :2], back.boxes.centre[:, :2]).min(1)
        assert (apart.values < 0.3).float().mean() > 0.9
        rise = back.boxes.centre[apart.indices, 2] - wanted.boxes.centre[certain][:, 2]
        assert (rise - lift).abs().median() < 0.15


def test_too_little_ground_moves_nothing(model: Detector) -> None:
    assert mounting_of(PointCloud(np.zeros((0, 3), np.float32)), model) == Mounting()
    assert mounting_of(PointCloud(np.full((150, 3), 5.0, np.float32)), model) == Mounting()
    far = street(1).cloud
    assert mounting_of(far.with_xyz(far.xyz + np.array([1000, 0, -5], np.float32)), model) == Mounting()


def test_joints_go_back_with_their_boxes() -> None:
    joints = len(WAYMO_SKELETON.joints)
    boxes = Boxes3D(torch.tensor([[1.0, 2, 3, 1, 1, 2, 0]]))
    places = torch.full((1, joints, 3), 3.0)
    found = Skeletons(boxes, torch.ones(1), places, torch.ones(1, joints), WAYMO_SKELETON.joints)
    back = Mounting(0.5).skeletons(found)
    assert back.boxes.values[0, 2] == 2.5
    assert (back.keypoints == torch.tensor([3.0, 3.0, 2.5])).all()
    assert (found.keypoints == 3.0).all()


def test_a_vehicle_frame_is_recognised(model: Detector, shared_data: Path) -> None:
    """Argoverse 2 clouds have the road near 0, not 1.7 m below."""
    path = next((shared_data / "argoverse2").rglob("lidar/*.feather"))
    assert mounting_of(read_points(path), model).lift == pytest.approx(-1.43, abs=0.15)


def test_imported_models_know_the_height_of_their_frame() -> None:
    vehicle, sensor = (-75.2, -75.2, -2.0, 75.2, 75.2, 4.0), (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)
    assert configured("centerpoint", {"point_range": vehicle}, "a file").ground_height == 0.0
    assert configured("centerpoint", {"point_range": sensor}, "a file").ground_height == -1.84
    assert configured("dsvt-pillar", {"point_range": sensor}, "a file").ground_height == -1.73
