"""Keypoints go with their people through every augmentation; left and right change places in a mirror."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from perception.boxes import Boxes3D
from perception.datasets.augment import AugmentConfig, RandomFlip, build_augmentation
from perception.datasets.ground_truth_database import build_database, read_database
from perception.datasets.ground_truth_sampling import GroundTruthSamplingConfig, make_ground_truth_sampling
from perception.datasets.object_augment import ObjectNoise
from perception.datasets.sample import Objects, Sample
from perception.errors import PerceptionError
from perception.keypoints import WAYMO_SKELETON, Skeleton
from perception.points import PointCloud

BOXES = torch.tensor([[10.0, 0, 0, 0.8, 0.7, 1.8, 0.4], [15.0, 3, 0, 0.7, 0.6, 1.7, -2.0]])


def sample(place: float = 0.0) -> Sample:
    """Two people whose points are exactly their joints, one joint of the first without a label."""
    boxes = BOXES.clone()
    boxes[:, 1] += place
    local = np.random.default_rng(1).uniform(-0.25, 0.25, (2, 14, 3))
    keypoints = (boxes[:, None, :3].numpy() + local).astype(np.float32)
    cloud = PointCloud(keypoints.reshape(-1, 3).copy())
    keypoints[0, 5] = np.nan
    visible = np.random.default_rng(2).random((2, 14)) < 0.5
    attributes = {"keypoints": keypoints, "keypoints_visible": visible}
    return Sample("made", cloud, Objects(Boxes3D(boxes), np.array(["Pedestrian"] * 2), attributes))


def joints(given: Sample) -> np.ndarray:
    assert given.objects is not None
    return given.objects.attributes["keypoints"]


def held(given: Sample, swapped: list[int] | None = None) -> None:
    """Joints are still where the points are that stand for them."""
    points = given.cloud.xyz[:28].reshape(2, 14, 3)
    points = points if swapped is None else points[:, swapped]
    known = np.isfinite(joints(given)).all(2)
    assert known.sum() == 27
    np.testing.assert_allclose(joints(given)[known], points[known], atol=2e-5)


def test_the_whole_recipe_moves_joints_with_their_points() -> None:
    settings = AugmentConfig(
        object_rotation=(-1, 1), object_translation=(0.2, 0.2, 0.1), object_scaling=(0.9, 1.1), flip_x=0.0,
        translation=(1, 1, 0.1), shuffle=False,
    )  # fmt: skip
    for seed in range(5):
        moved = build_augmentation(settings)(sample(), np.random.default_rng(seed))
        assert not np.allclose(np.nan_to_num(joints(moved)), np.nan_to_num(joints(sample())), atol=0.05)
        held(moved)


def test_objects_turned_by_themselves_carry_their_joints() -> None:
    moved = ObjectNoise((0.5, 0.6), (0.3, 0.3, 0.0), (0.9, 1.1))(sample(), np.random.default_rng(0))
    held(moved)
    assert np.isnan(joints(moved)[0, 5]).all()


@pytest.mark.parametrize(("along_x", "along_y"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_a_mirror_swaps_left_and_right(along_x: float, along_y: float) -> None:
    before = sample()
    after = RandomFlip(along_x, along_y)(before, np.random.default_rng(0))
    twice = along_x == along_y == 1.0
    swapped = list(range(14)) if twice else [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 13]
    held(after, swapped)
    assert after.objects is not None
    assert before.objects is not None
    visible = [o.attributes["keypoints_visible"] for o in (before.objects, after.objects)]
    np.testing.assert_array_equal(visible[1], visible[0][:, swapped])
    assert np.isnan(joints(after)[0, 5 if twice else 6]).all()


def test_other_skeletons_mirror_by_their_own_pairs_and_strangers_are_refused() -> None:
    stick = Skeleton(("a", "b", "c"), (), (("a", "c"),), (1.0,) * 3, (1.0,) * 3)
    given = sample()
    assert given.objects is not None
    attributes = {name: values[:, :3] for name, values in given.objects.attributes.items()}
    short = replace(given, objects=replace(given.objects, attributes=attributes))
    after = build_augmentation(AugmentConfig(flip_x=1.0, rotation=(0, 0), scaling=(1, 1)), None, stick)
    moved = joints(after(short, np.random.default_rng(0)))
    np.testing.assert_allclose(moved, joints(short)[:, [2, 1, 0]] * [1, -1, 1], atol=1e-6)
    with pytest.raises(PerceptionError, match="3 joints to mirror"):
        RandomFlip(1.0)(short, np.random.default_rng(0))
    without = RandomFlip(1.0, skeleton=None)(short, np.random.default_rng(0))
    assert without.objects is not None
    assert not without.objects.attributes


def test_skeletons_are_checked() -> None:
    assert WAYMO_SKELETON.mirrored[5] == 6
    with pytest.raises(PerceptionError, match="a joint 'left_sholder'"):
        Skeleton(bones=(("left_sholder", "nose"),))
    with pytest.raises(PerceptionError, match="in one pair at most"):
        Skeleton(symmetric=(("nose", "head_centre"), ("nose", "left_hip")))
    with pytest.raises(PerceptionError, match="14 weights for 1 joints"):
        Skeleton(("nose",), (), ())


class People:
    """Recordings of two people each, the second without keypoint labels at all."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        made = sample(20.0 * index)
        assert made.objects is not None
        if index == 1:
            return replace(made, objects=replace(made.objects, attributes={}))
        return made


def test_pasted_people_bring_their_joints(tmp_path: Path) -> None:
    build_database(People(), tmp_path / "people.npz")
    database = read_database(tmp_path / "people.npz")
    assert database.keypoints is not None
    assert database.keypoints.shape == (4, 14, 3)
    assert np.isnan(database.keypoints[2:]).all()
    np.testing.assert_allclose(database.joints_of(np.arange(2))["keypoints"], joints(sample()), atol=1e-5)
    settings = GroundTruthSamplingConfig("unused", {"Pedestrian": 9}, min_points=1, fill_up=False)
    scene = sample(-30.0)
    pasted = make_ground_truth_sampling(database, settings)(scene, np.random.default_rng(0))
    assert pasted.objects is not None
    assert joints(pasted).shape == (6, 14, 3)
    assert pasted.objects.attributes["keypoints_visible"].shape == (6, 14)
    order = pasted.objects.boxes.values[2:, 1].argsort().numpy() + 2
    np.testing.assert_allclose(joints(pasted)[order[:2]], joints(sample()), atol=1e-5)
    assert np.isnan(joints(pasted)[order[2:]]).all()


def test_people_pasted_into_recordings_without_joints_and_the_reverse(tmp_path: Path) -> None:
    database = build_database(People(), tmp_path / "people.npz")
    settings = GroundTruthSamplingConfig("unused", {"Pedestrian": 9}, min_points=1, fill_up=False)
    scene = sample(-30.0)
    assert scene.objects is not None
    plain = replace(scene, objects=replace(scene.objects, attributes={}))
    pasted = make_ground_truth_sampling(database, settings)(plain, np.random.default_rng(0))
    assert pasted.objects is not None
    assert len(pasted.objects) == 6
    without = replace(database, keypoints=None, keypoints_visible=None)
    pasted = make_ground_truth_sampling(without, settings)(scene, np.random.default_rng(0))
    assert np.isnan(joints(pasted)[2:]).all()
    assert not math.isnan(joints(pasted)[0, 0, 0])
