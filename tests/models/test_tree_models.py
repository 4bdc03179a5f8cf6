"""Checks that every model of individual trees passes; a new entry of the catalogue is covered by being there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_all_models import randomise

from perception.errors import PerceptionError
from perception.io.weights import Card, read_model, save_weights
from perception.losses.trees import TreeTruth
from perception.models.catalogue import MODELS
from perception.models.segmentanytree import SegmentAnyTree
from perception.models.tree_model import HEIGHT, TreeModel
from perception.pipeline import perceive
from perception.points import PointCloud
from perception.results import TreeInstances
from perception.trees.grouping import Grouping

# Untrained networks find trees only where little is asked of a group.
SMALL: dict[str, dict[str, Any]] = {
    "segmentanytree": {"least_score": 0.0, "growing_least": 2, "least_points": 1},
    "segmentanytree-small": {"least_score": 0.0, "growing_least": 2, "least_points": 1},
    "treelearn": {
        "channels": 8,
        "grouping": Grouping(tree_probability=0.3, least_verticality=0.0, radius=1.0, least_points=3),
    },
}
TREE_MODELS = sorted(name for name, entry in MODELS.items() if entry.task == "trees")


@pytest.fixture(params=TREE_MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def build(name: str) -> TreeModel:
    torch.manual_seed(1)
    model = MODELS[name].make(replace(MODELS[name].defaults, **SMALL[name])).eval()
    randomise(model)
    assert isinstance(model, TreeModel)
    return model


def forest(count: int, seed: int = 0) -> PointCloud:
    """Four stems under round crowns on flat ground."""
    generator = np.random.default_rng(seed)
    tree = generator.integers(0, 5, count)
    places = np.array([[0, 0], [5, 1], [1, 6], [6, 6], [3, 3]])[tree]
    round_ = generator.normal(size=(count, 3))
    round_ *= generator.uniform(0.8, 1.2, (count, 1)) / np.linalg.norm(round_, axis=1, keepdims=True)
    xyz = np.column_stack([places, np.full(count, 6.0)]) + round_ * [1.5, 1.5, 2]
    stem = generator.uniform(size=count) < 0.4
    xyz[stem] = np.column_stack([places[stem] + round_[stem, :2] * 0.1, generator.uniform(0, 5, stem.sum())])
    ground = tree == 4
    xyz[ground] = np.column_stack([generator.uniform(-2, 8, (ground.sum(), 2)), np.zeros(ground.sum())])
    return PointCloud(xyz + np.array([3, -8, 40]), {"tree": np.where(ground, 0, tree + 1)})


def truth(cloud: PointCloud) -> TreeTruth:
    ids = torch.from_numpy(cloud.fields["tree"])
    return TreeTruth(ids, (ids > 0).long())


def trees(model: TreeModel, clouds: list[PointCloud]) -> list[TreeInstances]:
    return perceive(model, clouds)  # type: ignore[return-value]


def same(first: TreeInstances, second: TreeInstances) -> bool:
    return all(
        torch.equal(getattr(first, part), getattr(second, part)) for part in ("tree_id", "tree_score", "semantic")
    )


def test_results_are_well_formed(name: str) -> None:
    (found,) = trees(build(name), [forest(1500)])
    assert isinstance(found, TreeInstances)
    assert found.tree_id.dtype == torch.int32
    assert found.tree_id.shape == found.tree_score.shape == found.semantic.shape == (1500,)
    assert found.tree_id.max() > 0
    assert ((found.tree_score > 0) == (found.tree_id > 0)).all()
    assert torch.isfinite(found.tree_score).all()
    ids = found.tree_id.unique()
    assert ids[ids > 0].tolist() == list(range(1, int(ids.max()) + 1)) or name == "segmentanytree"


def test_save_and_load_is_exact(name: str, tmp_path: Path) -> None:
    model = build(name)
    path = tmp_path / "weights.safetensors"
    save_weights(path, name, model, Card(trained_on="nothing", licence="Apache-2.0"))
    again, header = read_model(path)
    assert header.model == name
    assert again.config == model.config
    assert isinstance(again, TreeModel)
    assert same(*(trees(m, [forest(900)])[0] for m in (model, again)))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_empty_cloud_and_few_points(name: str, count: int) -> None:
    (found,) = trees(build(name), [forest(count)])
    assert len(found.tree_id) == count


def test_no_clouds(name: str) -> None:
    assert trees(build(name), []) == []


def test_order_of_points_does_not_matter(name: str) -> None:
    model, cloud = build(name), forest(1200)
    order = np.random.default_rng(3).permutation(len(cloud))
    straight, shuffled = trees(model, [cloud])[0], trees(model, [cloud.select(order)])[0]
    assert torch.equal(straight.semantic[order], shuffled.semantic)
    pairs = torch.stack([straight.tree_id[order], shuffled.tree_id], 1).unique(dim=0)
    assert len(pairs) == len(straight.tree_id.unique()) == len(shuffled.tree_id.unique())
    torch.testing.assert_close(straight.tree_score[order], shuffled.tree_score, atol=1e-4, rtol=1e-4)


def test_batch_equals_singles_with_an_empty_one_between(name: str) -> None:
    model = build(name)
    clouds = [forest(1000), forest(0), forest(500, seed=5)]
    for single, batched in zip(clouds, trees(model, clouds)):
        (alone,) = trees(model, [single])
        assert torch.equal(alone.tree_id, batched.tree_id)
        assert torch.equal(alone.semantic, batched.semantic)
        torch.testing.assert_close(alone.tree_score, batched.tree_score, atol=1e-4, rtol=1e-4)


def test_same_input_same_bits(name: str) -> None:
    model = build(name)
    assert same(*(trees(model, [forest(900)])[0] for _ in range(2)))


def test_loss_falls_and_reaches_every_parameter(name: str) -> None:
    model = build(name).train()
    clouds = [forest(700), forest(400, seed=2)]
    truths = [truth(cloud) for cloud in clouds]
    # Where the input tells nothing but the places of voxels, the first steps go slowly.
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2 if name == "treelearn" else 2e-3)
    losses = []
    for _ in range(10):
        loss = model.loss(model(model.voxelise(model.points(clouds))), truths)["loss"]
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_training_on_an_empty_cloud(name: str) -> None:
    model = build(name).train()
    clouds = [forest(0), forest(1)]
    predictions = model(model.voxelise(model.points(clouds)))
    nothing_known = [TreeTruth(torch.zeros(n, dtype=torch.int64), torch.full((n,), -1)) for n in (0, 1)]
    for truths in ([truth(cloud) for cloud in clouds], nothing_known):
        assert torch.isfinite(model.loss(predictions, truths)["loss"])
    model.loss(predictions, nothing_known)["loss"].backward()


def test_truths_of_another_length_are_refused(name: str) -> None:
    model = build(name)
    predictions = model(model.voxelise(model.points([forest(50)])))
    with pytest.raises(PerceptionError, match="truths of"):
        model.loss(predictions, [truth(forest(49))])


def test_early_epochs_leave_scores_out() -> None:
    model = build("segmentanytree").train()
    assert isinstance(model, SegmentAnyTree)
    model.at_epoch(30)
    voxels = model.voxelise(model.points([forest(300)]))
    assert model(voxels).proposals.number == 0
    model.at_epoch(31)
    assert model(voxels).proposals.number > 0


def test_height_in_the_file_is_seen() -> None:
    model, cloud = build("segmentanytree"), forest(300)
    lifted = replace(cloud, fields={HEIGHT: cloud.xyz[:, 2] - cloud.xyz[:, 2].min() + 7})
    first, second = (model.voxelise(model.points([c])).tensor.features for c in (cloud, lifted))
    torch.testing.assert_close(first[:, :3], second[:, :3])
    torch.testing.assert_close(first[:, 3] + 7, second[:, 3])


def test_a_shift_of_the_whole_cloud_changes_nothing_but_the_height() -> None:
    model, cloud = build("segmentanytree"), forest(400)
    moved = cloud.with_xyz(cloud.xyz + np.float32([64, -128, 32]))
    assert torch.equal(*(model.voxelise(model.points([c])).tensor.coordinates for c in (cloud, moved)))
