"""Checks that every model of human keypoints passes; a new entry of the catalogue is covered by being there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_all_models import randomise
from torch import Tensor

from perception.errors import PerceptionError
from perception.heads.centre_selection import Suppression
from perception.io.weights import Card, read_model, save_weights
from perception.keypoints import KeypointTargets, Skeleton
from perception.models.catalogue import MODELS
from perception.models.voxelkp import VoxelKP
from perception.pipeline import perceive
from perception.points import PointCloud
from perception.results import Skeletons

NAMES = sorted(name for name, entry in MODELS.items() if entry.task == "keypoints")
RANGE = (0.0, -6.4, -2.0, 12.8, 6.4, 4.0)
# The published widths are a hundred million weights: the same layers at an eighth of them.
NARROW = {"channels": (8, 8, 16, 32, 32, 32), "head_channels": 48}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def build(name: str, origin: str = "lowest in sample", **changes: object) -> VoxelKP:
    torch.manual_seed(1)
    defaults = MODELS[name].defaults
    selection = replace(defaults.selection, score_threshold=0.05, centre_range=None)
    changes = {"point_range": RANGE, **NARROW, "origin": origin, "selection": selection, **changes}
    if defaults.refiner is not None:  # random weights are sure of nobody
        changes["refiner"] = replace(defaults.refiner, score_threshold=0.0, apart=0.0)
    model = MODELS[name].make(replace(defaults, **changes)).eval()
    assert isinstance(model, VoxelKP)
    randomise(model)
    return model


def cloud(count: int, seed: int = 0) -> PointCloud:
    generator = np.random.default_rng(seed)
    xyz = generator.uniform([0, -7, -1], [13, 7, 1], (count, 3))
    names = ("intensity", "elongation")
    return PointCloud(xyz, {name: generator.uniform(0, 1, count).astype(np.float32) for name in names})


def people(model: VoxelKP, clouds: list[PointCloud]) -> list[Skeletons]:
    found = perceive(model, clouds)
    assert all(isinstance(one, Skeletons) for one in found)
    return found  # type: ignore[return-value]


def answers(model: VoxelKP, clouds: list[PointCloud]) -> list[Tensor]:
    rows = [
        torch.cat([p.boxes.values, p.scores[:, None], p.keypoints.flatten(1), p.visibility], 1)
        for p in people(model, clouds)
    ]
    return [row[torch.argsort(row[:, 0] + 1e3 * row[:, 1])] for row in rows]


def labels(model: VoxelKP, boxes: Tensor) -> KeypointTargets:
    """Joints spread in the boxes, one of them without a label and one hidden."""
    generator = torch.Generator().manual_seed(3)
    joints = len(model.skeleton.joints)
    local = torch.rand((len(boxes), joints, 3), generator=generator) - 0.5
    positions = boxes[:, None, :3] + local * boxes[:, None, 3:6]
    visible = torch.ones(len(boxes), joints)
    positions[:, 2], visible[:, 3] = torch.nan, 0.0
    return KeypointTargets(positions, visible)


def test_results_are_well_formed(name: str) -> None:
    (found,) = people(build(name), [cloud(3000)])
    assert len(found) > 0
    assert found.keypoints.shape == (len(found), 14, 3)
    assert found.visibility.shape == (len(found), 14)
    assert torch.isfinite(found.keypoints).all()
    assert found.visibility.min() >= 0
    assert found.visibility.max() <= 1
    assert (found.boxes.size > 0).all()
    assert (found.scores.diff() <= 0).all()
    assert found.detections.names == ["Human"] * len(found)


def test_save_and_load_is_exact(name: str, tmp_path: Path) -> None:
    model = build(name)
    path = tmp_path / "weights.safetensors"
    save_weights(path, name, model, Card(trained_on="nothing", licence="Apache-2.0"))
    again, header = read_model(path)
    assert header.model == name
    assert again.config == model.config
    before, after = answers(model, [cloud(2000)]), answers(again, [cloud(2000)])  # type: ignore[arg-type]
    assert torch.equal(before[0], after[0])


@pytest.mark.parametrize("count", [0, 1])
def test_empty_cloud_and_single_point(name: str, count: int) -> None:
    (found,) = people(build(name), [cloud(count)])
    assert found.keypoints.shape == (len(found), 14, 3)


def test_all_points_out_of_range(name: str) -> None:
    far = cloud(100)
    (found,) = people(build(name), [far.with_xyz(far.xyz + 1000)])
    assert len(found) == 0


def test_order_of_points_does_not_matter(name: str) -> None:
    model, points = build(name), cloud(600)
    shuffled = points.select(np.random.default_rng(3).permutation(len(points)))
    first, second = answers(model, [points]), answers(model, [shuffled])
    torch.testing.assert_close(first[0], second[0], atol=1e-3, rtol=1e-4)


def test_batch_equals_singles_with_an_empty_one_between(name: str) -> None:
    model = build(name)
    clouds = [cloud(2500), cloud(0), cloud(700, seed=5)]
    together = answers(model, clouds)
    for single, batched in zip(clouds, together):
        (alone,) = answers(model, [single])
        torch.testing.assert_close(alone, batched, atol=1e-3, rtol=1e-4)


def test_published_windows_depend_on_the_batch() -> None:
    """As the weights were trained: boxes of attention begin at the lowest voxel of the batch."""
    model = build("voxelkp", origin="lowest in batch")
    low, high = cloud(800), cloud(800, seed=4)
    moved = high.with_xyz(high.xyz * [0.3, 0.3, 1.0] + [8.0, 2.0, 1.5])
    (alone,), (_, together) = answers(model, [moved]), answers(model, [low, moved])
    assert len(alone) != len(together) or not torch.allclose(alone, together, atol=1e-3)


def test_same_input_same_bits(name: str) -> None:
    model, points = build(name), cloud(2000)
    first, second = answers(model, [points]), answers(model, [points])
    assert torch.equal(first[0], second[0])


def test_loss_falls_and_reaches_every_parameter(name: str) -> None:
    model = build(name).train()
    clouds = [cloud(1500), cloud(900, seed=2)]
    boxes = [
        torch.tensor([[8.0, 2.0, 0.0, 0.9, 0.8, 1.8, 0.3], [4, -3, -0.1, 0.8, 0.6, 1.7, 2.0]]),
        torch.zeros(0, 7),
    ]
    kinds = [torch.zeros(len(box), dtype=torch.int64) for box in boxes]
    joints = [labels(model, box) for box in boxes]
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(8):
        loss = model.loss(model(model.voxelise(model.points(clouds))), boxes, kinds, joints)["loss"]
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_training_on_an_empty_cloud(name: str) -> None:
    model = build(name).train()
    predictions = model(model.voxelise(model.points([cloud(0), cloud(1)])))
    none = torch.zeros(0, 7), torch.zeros(0, dtype=torch.int64)
    loss = model.loss(predictions, [none[0]] * 2, [none[1]] * 2, [labels(model, none[0])] * 2)["loss"]
    loss.backward()
    assert torch.isfinite(loss)


def test_boxes_without_joints_and_joints_of_unknown_visibility() -> None:
    model = build("voxelkp-small").train()
    boxes = [
        torch.tensor([[8.0, 2.0, 0.0, 0.9, 0.8, 1.8, 0.3], [14, 0, 0, 0.8, 0.6, 1.7, 2.0]])
    ]  # one beyond the range
    predictions = model(model.voxelise(model.points([cloud(1500)])))
    kind = [torch.zeros(2, dtype=torch.int64)]
    torch.manual_seed(0)
    bare = model.loss(predictions, boxes, kind)
    torch.manual_seed(0)  # the second look moves its centres at random
    none = model.loss(predictions, boxes, kind, [KeypointTargets.unknown(2, 14)])
    assert bare["joints"] == bare["bones"] == bare["visibility"] == 0
    assert torch.equal(bare["loss"], none["loss"])
    known = labels(model, boxes[0])
    blind = KeypointTargets(known.positions, torch.full_like(known.visible, torch.nan))
    loss = model.loss(predictions, boxes, kind, [blind])
    assert torch.isfinite(loss["loss"])
    assert loss["joints"] > 0
    assert loss["visibility"] < model.loss(predictions, boxes, kind, [known])["visibility"]


def test_a_crowd() -> None:
    """Three hundred people, more than suppression keeps and more than some heads would take."""
    model = build("voxelkp-small", point_range=(0.0, -12.8, -2.0, 25.6, 12.8, 4.0))
    generator = torch.Generator().manual_seed(0)
    place = torch.rand((300, 3), generator=generator) * torch.tensor([12.0, 12.0, 0.2]) - torch.tensor([0.0, 6.0, 0.0])
    boxes = torch.cat([place, torch.tensor([[0.6, 0.6, 1.7, 0.0]]).expand(300, 4)], 1)
    predictions = model.train()(model.voxelise(model.points([cloud(4000)])))
    loss = model.loss(predictions, [boxes], [torch.zeros(300, dtype=torch.int64)], [labels(model, boxes)])
    assert torch.isfinite(loss["loss"])
    rule = replace(model.config.selection, score_threshold=0.0, suppression=(Suppression(1.0, 500, 300),))
    model.eval()
    spread = cloud(8000).with_xyz(cloud(8000).xyz * [2.0, 1.8, 1.0])
    with torch.inference_mode():
        (found,) = model.head.results(model(model.voxelise(model.points([spread]))), rule)
    assert len(found) == 300


def test_another_skeleton() -> None:
    stick = Skeleton(
        ("head", "left_hand", "right_hand"),
        (("head", "left_hand"),),
        (("left_hand", "right_hand"),),
        (1, 2, 2),
        (0.1, 0.1, 0.1),
    )
    (found,) = people(build("voxelkp-small", skeleton=stick), [cloud(2000)])
    assert found.keypoints.shape == (len(found), 3, 3)
    assert found.joint_names == stick.joints


def test_keypoints_of_another_skeleton_are_refused() -> None:
    model = build("voxelkp-small").train()
    predictions = model(model.voxelise(model.points([cloud(300)])))
    boxes = [torch.tensor([[8.0, 2.0, 0.0, 0.9, 0.8, 1.8, 0.3]])]
    with pytest.raises(PerceptionError, match="one row a box, one column a joint"):
        model.loss(predictions, boxes, [torch.zeros(1, dtype=torch.int64)], [KeypointTargets.unknown(1, 17)])
