from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from perception.boxes import Boxes3D
from perception.datasets.augment import AugmentConfig, build_augmentation, build_schedule, sample_generator
from perception.datasets.ground_truth_sampling import GroundTruthSamplingConfig
from perception.datasets.object_augment import FrustumDropout, ObjectNoise, PointDropout, PointJitter
from perception.datasets.sample import Objects, Sample
from perception.errors import PerceptionError
from perception.geometry import bev_iou, points_in_boxes
from perception.points import PointCloud

BOXES = torch.tensor([[10.0, 0, 0, 4, 2, 1.5, 0.4], [15.0, 1, 0, 4, 2, 1.5, -2], [30.0, -8, 0, 0.8, 0.6, 1.7, 1.0]])


def sample() -> Sample:
    """Three objects full of points and clutter that keeps its distance."""
    generator = np.random.default_rng(0)
    clouds = [generator.uniform([40, -20, -1], [60, 20, 1], (500, 3))]
    for x, y, z, length, width, height, heading in BOXES.tolist():
        local = generator.uniform(-0.49, 0.49, (100, 3)) * [length, width, height]
        cos, sin = math.cos(heading), math.sin(heading)
        turned = [local[:, 0] * cos - local[:, 1] * sin, local[:, 0] * sin + local[:, 1] * cos, local[:, 2]]
        clouds.append(np.stack(turned, 1) + np.array([x, y, z]))
    velocity = torch.stack([BOXES[:, 6].cos(), BOXES[:, 6].sin()], 1) * 3
    return Sample(
        "made",
        PointCloud(np.concatenate(clouds).astype(np.float32)),
        Objects(Boxes3D(BOXES, velocity), np.array(["Car", "Car", "Pedestrian"])),
    )


def test_objects_move_with_their_points_and_their_velocities() -> None:
    before = sample()
    after = ObjectNoise((-0.5, 0.5), (1.0, 1.0, 0.2), (0.9, 1.1))(before, np.random.default_rng(3))
    assert before.objects is not None
    assert after.objects is not None
    values = after.objects.boxes.values
    assert not torch.equal(values, BOXES)
    inside = points_in_boxes(torch.from_numpy(after.cloud.xyz), values).sum(0)
    assert (inside >= 100).all()
    np.testing.assert_array_equal(after.cloud.xyz[:500], before.cloud.xyz[:500])
    velocity = after.objects.boxes.velocity
    assert velocity is not None
    torch.testing.assert_close(torch.atan2(velocity[:, 1], velocity[:, 0]), values[:, 6], atol=1e-4, rtol=0)
    torch.testing.assert_close(velocity.norm(dim=1), torch.full((3,), 3.0))
    assert torch.equal(before.objects.boxes.values, BOXES), "the sample given is left alone"


def test_objects_never_come_to_overlap() -> None:
    for seed in range(30):
        moved = ObjectNoise((-3.0, 3.0), (3.0, 3.0, 0.0))(sample(), np.random.default_rng(seed))
        assert moved.objects is not None
        overlap = bev_iou(moved.objects.boxes.values, moved.objects.boxes.values)
        assert (overlap.triu(1) == 0).all()


def test_frustums_lose_points_in_one_direction_only() -> None:
    before = sample()
    after = FrustumDropout(1.0, 1.0, 0.4)(before, np.random.default_rng(1))
    assert 0 < len(before.cloud) - len(after.cloud) < len(before.cloud)
    kept = {tuple(p) for p in after.cloud.xyz.tolist()}
    gone = np.array([p for p in before.cloud.xyz.tolist() if tuple(p) not in kept])
    azimuth = np.arctan2(gone[:, 1], gone[:, 0])
    assert np.ptp(azimuth) < 0.4
    assert len(FrustumDropout(0.0)(before, np.random.default_rng(1)).cloud) == len(before.cloud)


def test_dropout_and_jitter_are_bounded() -> None:
    before = sample()
    shares = [len(PointDropout(0.5)(before, np.random.default_rng(s)).cloud) / len(before.cloud) for s in range(20)]
    assert 0.4 < min(shares) < 0.7 < max(shares) <= 1
    shaken = PointJitter(0.02)(before, np.random.default_rng(0)).cloud.xyz - before.cloud.xyz
    assert 0 < np.abs(shaken).max() < 0.0601


def test_empty_clouds_and_unlabelled_samples_pass() -> None:
    recipe = build_augmentation(
        AugmentConfig(object_rotation=(-1, 1), frustum_dropout=1.0, point_dropout=0.5, jitter=0.1)
    )
    empty = Sample("empty", PointCloud(np.zeros((0, 3), np.float32)), Objects(Boxes3D.empty(), np.zeros(0, str)))
    assert len(recipe(empty, sample_generator(0, 0, 0)).cloud) == 0
    assert recipe(Sample("bare", sample().cloud), sample_generator(0, 0, 0)).objects is None


def test_augmentation_ends_with_the_schedule() -> None:
    schedule = build_schedule(AugmentConfig(off_for_last=2, shuffle=False), epochs=5)
    for epoch in range(5):
        changed = schedule.at(epoch)(sample(), sample_generator(0, epoch, 0))
        same = np.array_equal(changed.cloud.xyz, sample().cloud.xyz)
        assert same == (epoch >= 3), epoch
    with pytest.raises(PerceptionError, match="off_for_last = -1"):
        AugmentConfig(off_for_last=-1)
    with pytest.raises(PerceptionError, match="off_for_last = -1"):
        GroundTruthSamplingConfig("file", off_for_last=-1)
