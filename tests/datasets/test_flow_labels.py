"""True flow from boxes: cases small enough to tell by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perception.boxes import Boxes3D
from perception.datasets.flow.classes import GROUPS, NAMES, category_number
from perception.datasets.flow.labels import box_labels, moved_objects
from perception.datasets.flow.pairs import FlowSample, with_ground, without_ground
from perception.datasets.rigid import inverse
from perception.datasets.sample import Objects
from perception.points import PointCloud
from perception.scan_pair import ScanPair


def objects(*rows: tuple[str, str, list[float]]) -> Objects:
    boxes = Boxes3D(torch.tensor([row[2] for row in rows], dtype=torch.float64).reshape(-1, 7))
    return Objects(boxes, np.array([r[0] for r in rows], str), {"track": np.array([r[1] for r in rows], str)})


def turned(angle: float, x: float, y: float) -> np.ndarray:
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    pose[:2, 3] = x, y
    return pose


def test_points_in_a_box_move_with_it_and_all_others_with_the_sensor() -> None:
    pose = turned(0.02, -1.0, 0.1)
    xyz = np.array([[11, 0.5, 0.2], [0, 30, 1], [9, -0.9, 0.7], [21, 5, 0.5]], np.float32)
    pair = ScanPair(PointCloud(xyz), PointCloud(np.zeros((0, 3))), pose)
    first = objects(("Car", "a", [10, 0, 0.5, 4, 2, 1.6, 0.1]), ("Pedestrian", "b", [21, 5, 0.5, 1, 1, 2, 0]))
    second = objects(("Car", "a", [10.5, 0.3, 0.5, 4, 2, 1.6, 0.15]))
    labels = box_labels(pair, first, second)
    world = np.column_stack([xyz.astype(np.float64), np.ones(4)])
    ego = (world @ pose.T)[:, :3] - xyz
    np.testing.assert_allclose(labels.flow[[1, 3]], ego[[1, 3]], atol=1e-6)
    own = turned(0.15, 10.5, 0.3) @ inverse(turned(0.1, 10, 0))
    np.testing.assert_allclose(labels.flow[[0, 2]], ((world @ own.T)[:, :3] - xyz)[[0, 2]], atol=1e-6)
    assert labels.valid.tolist() == [True, True, True, False]  # nobody saw the pedestrian again
    assert labels.moving.tolist() == [True, False, True, False]
    assert labels.box.tolist() == [0, -1, 0, 1]
    assert [NAMES[c] for c in labels.category] == ["REGULAR_VEHICLE", "NONE", "REGULAR_VEHICLE", "PEDESTRIAN"]
    truth = labels.truth()
    assert truth.flow is not None
    assert truth.flow.isnan().all(1).tolist() == [False, False, False, True]


def test_boxes_are_wider_and_longer_and_the_last_of_several_counts() -> None:
    xyz = np.array([[2.05, 0, 0], [0, 1.05, 0], [0, 0, 0.79], [0, 0, 0.81], [1.95, 0, 0]], np.float32)
    pair = ScanPair(PointCloud(xyz), PointCloud(xyz))
    here = objects(("Car", "a", [0, 0, 0, 4, 2, 1.6, 0]), ("Van", "b", [2.4, 0, 0, 1, 1, 1, 0]))
    labels = box_labels(pair, here, here)
    assert labels.box.tolist() == [1, 0, 0, -1, 1]
    assert box_labels(pair, here, here, dilation=0.0).box.tolist() == [1, -1, 0, -1, 1]
    assert not labels.flow.any()
    assert not labels.moving.any()


def test_nothing_labelled_and_nothing_there() -> None:
    cloud = PointCloud(np.ones((3, 3)))
    for first, second in ((objects(), objects()), (objects(("Car", "a", [1, 1, 1, 2, 2, 2, 0])), objects())):
        labels = box_labels(ScanPair(cloud, cloud), first, second)
        assert not labels.flow.any()
        assert labels.valid.all() == (len(first) == 0)
    empty = PointCloud(np.zeros((0, 3)))
    assert len(box_labels(ScanPair(empty, cloud), objects(), objects())) == 0


def test_objects_in_another_frame() -> None:
    boxes = torch.tensor([[3, 4, 1, 4, 2, 1.5, 0.3]], dtype=torch.float64)
    here = Objects(Boxes3D(boxes, torch.tensor([[1.0, 0.0]])), np.array(["Car"]), {"track": np.array(["a"])})
    there = moved_objects(here, turned(np.pi / 2, 10, 0))
    np.testing.assert_allclose(there.boxes.values[0], [6, 3, 1, 4, 2, 1.5, 0.3 + np.pi / 2], atol=1e-12)
    assert there.boxes.velocity is not None
    np.testing.assert_allclose(there.boxes.velocity[0], [0, 1], atol=1e-7)


def test_categories_of_all_data_sets() -> None:
    assert len(NAMES) == 31
    assert [category_number(n) for n in ("Car", "Vehicle", "car", "REGULAR_VEHICLE")] == [19] * 4
    assert category_number("Cyclist") in GROUPS["WHEELED_VRU"]
    assert category_number("human.pedestrian.stroller") in GROUPS["PEDESTRIAN"]
    assert category_number("never heard of") not in [c for group in GROUPS.values() for c in group]


def test_without_ground() -> None:
    cloud = with_ground(PointCloud(np.arange(9.0).reshape(3, 3)), np.array([True, False, False]))
    pair = ScanPair(cloud, cloud)
    sample = FlowSample("a", pair, box_labels(pair, objects(), objects()))
    bare = without_ground(sample)
    assert (len(bare.pair.first), len(bare.pair.second), len(bare.labels or ())) == (2, 2, 2)


@pytest.mark.parametrize("group", ["BACKGROUND", "CAR", "OTHER_VEHICLES", "PEDESTRIAN", "WHEELED_VRU"])
def test_groups_do_not_overlap(group: str) -> None:
    others = [c for name, members in GROUPS.items() if name != group for c in members]
    assert not set(GROUPS[group]) & set(others)
