"""Training on clouds with images: views follow augmentation and reach the image branch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from perception.datasets.augment import Compose, RandomFlip, RandomRotation, RandomScaling
from perception.datasets.kitti.dataset import KittiDetection
from perception.errors import PerceptionError
from perception.models.catalogue import MODELS
from perception.models.model import Model
from perception.training.data import collate


@pytest.fixture
def model() -> Model:
    entry = MODELS["focals-voxel-rcnn-images"]
    return entry.make(replace(entry.defaults, point_range=(0.0, -16.0, -3.0, 32.0, 16.0, 1.0))).train()


def test_images_of_real_frames_reach_the_loss(shared_data: Path, model: Model) -> None:
    dataset = KittiDetection(shared_data / "kitti_object", identifiers=["000004", "000008"], image=True)
    augment = Compose((RandomFlip(1.0), RandomRotation(), RandomScaling()))
    batch = collate([augment(dataset[i], np.random.default_rng(i)) for i in (0, 1)])
    predictions = model(model.with_views(model.voxelise(model.points(batch.clouds)), batch.views))
    boxes = [objects.boxes.values.float() for objects in batch.objects if objects is not None]
    losses = model.loss(predictions, boxes, [torch.zeros(len(b), dtype=torch.int64) for b in boxes])
    losses["loss"].backward()
    assert losses["objectness"] > 0
    first = model.get_submodule("backbone.image.encoder.conv1").weight
    assert first.grad is not None
    assert first.grad.abs().max() > 0


def test_a_recording_without_its_image_is_refused(shared_data: Path, model: Model) -> None:
    batch = collate([KittiDetection(shared_data / "kitti_object", identifiers=["000004"])[0]])
    voxels = model.voxelise(model.points(batch.clouds))
    with pytest.raises(PerceptionError, match="without its image"):
        model.with_views(voxels, batch.views)
    with pytest.raises(PerceptionError, match="no camera views"):
        model(voxels)
