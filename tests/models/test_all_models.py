"""Checks that every model of the catalogue passes; a new entry is covered by being there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from perception.camera import CameraView
from perception.heads.roi.aggregation import Ball
from perception.heads.roi.sampling import RoISampling
from perception.io.weights import Card, read_model, save_weights
from perception.models.catalogue import MODELS
from perception.models.model import Model
from perception.models.pv_rcnn import PVRCNNConfig
from perception.pipeline import perceive
from perception.points import PointCloud
from perception.results import Detections

# Balls around a grid in each proposal are most of PV-RCNN's training.
FEW_PROPOSALS = {"sampling": RoISampling(number=16), "keypoints": 512}
# Ranges small enough for two cores; everything else as published.
SMALL_RANGE = {
    "second": {"point_range": (0.0, -8.0, -3.0, 16.0, 8.0, 1.0)},
    "pointpillars": {"point_range": (0.0, -10.24, -3.0, 20.48, 10.24, 1.0)},
    "pointpillars-small": {"point_range": (0.0, -8.0, -3.0, 16.0, 8.0, 1.0)},
    "centerpoint-small": {"point_range": (0.0, -8.0, -2.03, 16.0, 8.0, 0.97)},
    "voxel-rcnn-car": {"point_range": (0.0, -8.0, -3.0, 16.0, 8.0, 1.0)},
    "voxel-rcnn": {"point_range": (0.0, -8.0, -3.0, 16.0, 8.0, 1.0)},
    "pv-rcnn": {"point_range": (0.0, -8.0, -3.0, 16.0, 8.0, 1.0), **FEW_PROPOSALS},
    "pv-rcnn-waymo": {"point_range": (0.0, -8.0, -2.0, 16.0, 8.0, 4.0), **FEW_PROPOSALS},
    "focals-voxel-rcnn": {"point_range": (0.0, -8.0, -3.0, 16.0, 8.0, 1.0)},
    "focals-pv-rcnn": {"point_range": (0.0, -8.0, -3.0, 16.0, 8.0, 1.0), **FEW_PROPOSALS},
    "focals-voxel-rcnn-images": {"point_range": (0.0, -8.0, -3.0, 16.0, 8.0, 1.0)},
    "focals-voxel-rcnn-car-images": {"point_range": (0.0, -8.0, -3.0, 16.0, 8.0, 1.0)},
    "focals-pv-rcnn-images": {"point_range": (0.0, -8.0, -3.0, 16.0, 8.0, 1.0), **FEW_PROPOSALS},
    "focals-centerpoint": {"point_range": (0.0, -9.6, -5.0, 19.2, 9.6, 3.0)},
    "focals-centerpoint-waymo": {"point_range": (0.0, -8.0, -2.0, 16.0, 8.0, 4.0)},
    "dsvt-pillar": {"point_range": (0.0, -8.32, -2.0, 16.64, 8.32, 4.0)},
    "dsvt-voxel": {"point_range": (0.0, -8.32, -2.0, 16.64, 8.32, 4.0)},
    "dsvt-pillar-nuscenes": {"point_range": (0.0, -9.6, -5.0, 19.2, 9.6, 3.0)},
    "transfusion-lidar": {"point_range": (0.0, -9.6, -5.0, 19.2, 9.6, 3.0)},
    "centerpoint": {"point_range": (0.0, -9.6, -5.0, 19.2, 9.6, 3.0)},
    "centerpoint-nuscenes-10cm": {"point_range": (0.0, -8.0, -5.0, 16.0, 8.0, 3.0)},
    "centerpoint-nuscenes-pillars": {"point_range": (0.0, -9.6, -5.0, 19.2, 9.6, 3.0)},
    "centerpoint-waymo": {"point_range": (0.0, -8.0, -2.0, 16.0, 8.0, 4.0)},
    "centerpoint-waymo-plain": {"point_range": (0.0, -8.0, -2.0, 16.0, 8.0, 4.0)},
    "centerpoint-waymo-pillars": {"point_range": (0.0, -10.24, -2.0, 20.48, 10.24, 4.0)},
    "voxelnext": {"point_range": (0.0, -9.6, -5.0, 19.2, 9.6, 3.0)},
    "voxelnext-kernel3": {"point_range": (0.0, -9.6, -5.0, 19.2, 9.6, 3.0)},
    "voxelnext-planar": {"point_range": (0.0, -9.6, -5.0, 19.2, 9.6, 3.0)},
    "voxelnext-waymo": {"point_range": (0.0, -8.0, -2.0, 16.0, 8.0, 4.0)},
    "voxelnext-waymo-large": {"point_range": (0.0, -8.0, -2.0, 16.0, 8.0, 4.0)},
    "voxelnext-waymo-planar": {"point_range": (0.0, -8.0, -2.0, 16.0, 8.0, 4.0)},
    "voxelnext-argoverse2": {"point_range": (0.0, -8.0, -20.0, 16.0, 8.0, 20.0)},
}


def randomise(model: nn.Module) -> None:
    """Statistics and biases that a mistake in normalisation would show in; fresh ones hide it."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean, 0, 0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.normal_(module.bias, 0, 0.1)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias, -1, 0.5)


def build(name: str, orderless: bool = False) -> Model:
    torch.manual_seed(1)
    entry = MODELS[name]
    config = _with(entry.defaults, SMALL_RANGE[name])
    if orderless and isinstance(config, PVRCNNConfig):
        config = _with(config, _unbounded(config))
    model = entry.make(config).eval()
    randomise(model)
    return model


def _unbounded(config: PVRCNNConfig) -> dict[str, object]:
    """PV-RCNN as published starts from the first point, and takes the first ones of each ball: here it takes all."""

    def roomy(balls: tuple[Ball, ...]) -> tuple[Ball, ...]:
        return tuple(replace(ball, neighbours=1024) for ball in balls)

    wider = {"raw_balls": roomy(config.raw_balls), "roi_balls": roomy(config.roi_balls)}
    return {"keypoints": 1024, "voxel_order": "grid", **wider}


def _with(config: object, changes: dict[str, object]) -> object:
    return replace(config, **changes)  # type: ignore[type-var]


def cloud(count: int, seed: int = 0) -> PointCloud:
    generator = np.random.default_rng(seed)
    xyz = generator.uniform([0, -9, -2], [15, 9, 0], (count, 3))
    names = ("intensity", "elongation", "time")
    return PointCloud(xyz, {name: generator.uniform(0, 1, count).astype(np.float32) for name in names})


@pytest.fixture(params=sorted(name for name, entry in MODELS.items() if entry.task == "detection"))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def views(model: Model, clouds: list[PointCloud]) -> list[CameraView] | None:
    """A made image ahead of each cloud, different for each number of points, for the models that read images."""
    if not model.reads_images:
        return None
    to_camera = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0.3], [0, 0, 0, 1.0]])
    lens = np.array([[40.0, 0, 40, 0], [0, 40, 24, 0], [0, 0, 1, 0]])
    images = [torch.rand((3, 48, 80), generator=torch.Generator().manual_seed(len(cloud) + 1)) for cloud in clouds]
    return [CameraView(image, to_camera, lens) for image in images]


def voxels_of(model: Model, clouds: list[PointCloud]) -> Any:
    voxels, seen = model.voxelise(model.points(clouds)), views(model, clouds)
    return voxels if seen is None else model.with_views(voxels, seen)


def detect(model: Model, clouds: list[PointCloud]) -> list[Any]:
    return perceive(model, clouds, views=views(model, clouds))


def answers(model: Model, clouds: list[PointCloud]) -> list[Tensor]:
    """Scores and boxes of each cloud as one tensor a cloud, in an order that rounding cannot change."""
    results = detect(model, clouds)
    assert all(isinstance(result, Detections) for result in results)
    rows = [torch.cat([r.boxes.values, r.scores[:, None], r.labels[:, None].float()], 1) for r in results]
    return [row[torch.argsort(row[:, 0] + 1e3 * row[:, 1])] for row in rows]


def test_results_are_well_formed(name: str) -> None:
    (found,) = detect(build(name), [cloud(3000)])
    assert isinstance(found, Detections)
    assert len(found) > 0
    assert found.boxes.values.shape == (len(found), 7)
    assert torch.isfinite(found.boxes.values).all()
    assert (found.boxes.size > 0).all()
    assert (found.scores.diff() <= 0).all()
    assert found.labels.max() < len(found.classes)


def test_save_and_load_is_exact(name: str, tmp_path: Path) -> None:
    model = build(name)
    path = tmp_path / "weights.safetensors"
    save_weights(path, name, model, Card(trained_on="nothing", licence="Apache-2.0"))
    again, header = read_model(path)
    assert header.model == name
    assert header.card.trained_on == "nothing"
    assert again.config == model.config
    before, after = answers(model, [cloud(2000)]), answers(again, [cloud(2000)])
    assert torch.equal(before[0], after[0])


@pytest.mark.parametrize("count", [0, 1])
def test_empty_cloud_and_single_point(name: str, count: int) -> None:
    (found,) = detect(build(name), [cloud(count)])
    assert isinstance(found, Detections)


def test_all_points_out_of_range(name: str) -> None:
    far = cloud(100)
    (found,) = detect(build(name), [far.with_xyz(far.xyz + 1000)])
    assert isinstance(found, Detections)


def test_order_of_points_does_not_matter(name: str) -> None:
    model, points = build(name, orderless=True), cloud(600)
    shuffled = points.select(np.random.default_rng(3).permutation(len(points)))
    first, second = answers(model, [points]), answers(model, [shuffled])
    torch.testing.assert_close(first[0], second[0], atol=1e-3, rtol=1e-4)


def test_batch_equals_singles_with_an_empty_one_between(name: str) -> None:
    model = build(name)
    clouds = [cloud(2500), cloud(0), cloud(700, seed=5)]
    together = answers(model, clouds)
    for single, batched in zip(clouds, together):
        (alone,) = answers(model, [single])
        if "pv-rcnn" in name:
            _same_but_for_flips(alone, batched)
        else:
            assert len(alone) == len(batched)
            torch.testing.assert_close(alone, batched, atol=1e-3, rtol=1e-4)


def _same_but_for_flips(first: Tensor, second: Tensor) -> None:
    """The last bits of a corner decide whether a point is in a ball of PV-RCNN: that may cost a box in ten, no more."""
    near = torch.isclose(first[:, None], second[None], atol=1e-3, rtol=1e-4).all(2)
    assert int(near.any(1).sum()) >= 0.9 * len(first)
    assert int(near.any(0).sum()) >= 0.9 * len(second)


def test_same_input_same_bits(name: str) -> None:
    model, points = build(name), cloud(2000)
    first, second = answers(model, [points]), answers(model, [points])
    assert torch.equal(first[0], second[0])


def test_loss_falls_and_reaches_every_parameter(name: str) -> None:
    model = build(name).train()
    clouds = [cloud(1500), cloud(900, seed=2)]
    boxes = [
        torch.tensor([[8.0, 2.0, -1.0, 3.9, 1.6, 1.56, 0.3], [4, -3, -0.7, 0.8, 0.6, 1.7, 2.0]]),
        torch.zeros(0, 7),
    ]
    if model.velocity:  # one moves, of the other nothing is known
        boxes = [torch.cat([b, torch.tensor([[3.0, 0.5], [torch.nan, torch.nan]])[: len(b)]], 1) for b in boxes]
    labels = [torch.tensor([0, 1]), torch.zeros(0, dtype=torch.int64)]
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(6):
        voxels = voxels_of(model, clouds)
        loss = model.loss(model(voxels), boxes, labels)["loss"]
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_training_on_an_empty_cloud(name: str) -> None:
    model = build(name).train()
    predictions = model(voxels_of(model, [cloud(0), cloud(1)]))
    none = torch.zeros(0, 7), torch.zeros(0, dtype=torch.int64)
    loss = model.loss(predictions, [none[0]] * 2, [none[1]] * 2)["loss"]
    loss.backward()
    assert torch.isfinite(loss)
