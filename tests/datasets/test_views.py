"""Camera views beside clouds: augmentation moves points but not what they look like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from perception.camera import CameraView
from perception.datasets.augment import RandomFlip, RandomRotation, RandomScaling, RandomTranslation
from perception.datasets.kitti.dataset import KittiDetection
from perception.datasets.sample import Sample
from perception.points import PointCloud

AHEAD = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, -0.3], [0, 0, 0, 1.0]])
LENS = np.array([[100.0, 0, 60, 0], [0, 100, 40, 0], [0, 0, 1, 0]])


@pytest.mark.parametrize(
    "augmentation", [RandomFlip(1.0, 1.0), RandomRotation(), RandomScaling(), RandomTranslation((0.5, 0.5, 0.2))]
)
def test_moved_points_are_seen_at_the_same_pixels(augmentation) -> None:
    generator = np.random.default_rng(0)
    cloud = PointCloud(generator.uniform([5, -3, -1], [20, 3, 1], (200, 3)))
    before = Sample("one", cloud, view=CameraView(torch.zeros(3, 80, 120), AHEAD, LENS))
    after = augmentation(before, generator)
    assert not np.allclose(before.cloud.xyz, after.cloud.xyz)
    first, seen = before.view.pixels(torch.from_numpy(before.cloud.xyz))
    second, again = after.view.pixels(torch.from_numpy(after.cloud.xyz))
    # Rounding to float32 may carry a point across the border of two pixels.
    assert ((first == second).all(1) & (seen == again)).float().mean() > 0.98
    assert seen.float().mean() > 0.5


def test_labelled_objects_are_seen_inside_their_labelled_rectangles(shared_data: Path) -> None:
    dataset = KittiDetection(shared_data / "kitti_object", identifiers=["000002", "000004", "000008"], image=True)
    checked = 0
    for sample in dataset:
        pixels, seen = (found.numpy() for found in sample.view.pixels(sample.objects.boxes.centre))
        left, top, right, bottom = sample.objects.attributes["bbox"].T
        inside = (pixels[:, 0] >= left) & (pixels[:, 0] <= right) & (pixels[:, 1] >= top) & (pixels[:, 1] <= bottom)
        whole = sample.objects.attributes["truncation"] < 0.3
        assert inside[whole].all()
        assert seen[whole].all()
        assert 0.2 < sample.view.image.mean() < 0.6
        checked += int(whole.sum())
    assert checked >= 5
