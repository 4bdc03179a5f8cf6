"""Training of tree models: every loss reaches its weights, it goes on with the same bits, it refuses bare plots."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from perception.datasets.sample import Sample
from perception.errors import PerceptionError
from perception.io.writers import write_points
from perception.models.loading import load_with_header
from perception.points import PointCloud
from perception.simulate.forest.scene import forest
from perception.training.data import collate
from perception.training.evaluation_trees import evaluate_trees
from perception.training.fit import build, train
from perception.training.schedule import rate_factor
from perception.training.settings import Experiment, TrainingConfig, check_experiment

SMALL = {
    "downs": [[1, 8], [2, 8], [2, 8]],
    "ups": [[2, 8], [2, 8], [1, 8]],
    "score_downs": [[2, 8], [2, 8]],
    "score_ups": [[2, 8], [2, 8]],
    "score_from_epoch": 2,
}


@pytest.fixture
def tiny() -> dict[str, Any]:
    plots = {"length": 2, "side": 8, "density": 60, "scanners": ["drone"], "finest": 0.2}
    return {
        "model": "segmentanytree-small",
        "overrides": SMALL,
        "data": {"train": [{"name": "forest_trees", "options": plots, "repeat": 2}]},
        "tree_augment": {"radius": 4.0, "densities": [10, 30]},
        "training": {"epochs": 4, "batch_size": 2, "workers": 0, "threads": 1, "learning_rate": 0.002},
    }


def experiment(values: dict[str, Any]) -> Experiment:
    return check_experiment(values, "the test")


def test_resumed_training_ends_with_the_same_bits(tiny: dict[str, Any], tmp_path: Path) -> None:
    validate = {"length": 1, "side": 8, "density": 40, "scanners": ["drone"], "split": "test"}
    tiny["data"]["validate"] = [{"name": "forest_trees", "options": validate}]
    tiny["training"] |= {"checkpoint_steps": 3, "validate_every": 2, "picture_every": 4, "norm_momentum_halved": 2}
    whole = train(experiment(tiny), tmp_path / "whole")
    assert whole.weights is not None
    assert (tmp_path / "whole" / "pictures" / "epoch_004.png").is_file()
    logged = next((tmp_path / "whole" / "logs").rglob("metrics.csv")).read_text()
    assert "validate/f1" in logged
    assert "validate/loss" in logged
    (tmp_path / "broken").mkdir()
    shutil.copy(tmp_path / "whole" / "last.ckpt", tmp_path / "broken")  # of step 6 of 8
    resumed = train(experiment(tiny), tmp_path / "broken", resume=True)
    assert resumed.weights is not None
    one, other = load_file(whole.weights), load_file(resumed.weights)
    assert all(torch.equal(one[key], other[key]) for key in one)
    model, header = load_with_header(whole.weights)
    assert "forest_trees train, seed 0" in header.card.trained_on
    assert evaluate_trees(model, [_plots()]).frames == 1  # type: ignore[list-item]


def _plots() -> list[Sample]:
    return [Sample("plot", forest(3, "drone", side=8, density=40).cloud)]


@pytest.mark.parametrize("name", ["segmentanytree-small", "treelearn"])
def test_the_losses_reach_every_weight_and_fall(name: str, tiny: dict[str, Any]) -> None:
    tiny["model"] = name
    tiny["overrides"] = SMALL if name != "treelearn" else {"channels": 8, "levels": 3, "voxel_size": 0.25}
    module = build(experiment(tiny))
    model = module.model.train()
    batch = collate([module.train_data[(0, 0)], module.train_data[(0, 1)]])
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    model.at_epoch(2)
    values, reached = [], set()
    for _ in range(12):
        losses = module.losses(batch)
        optimiser.zero_grad()
        losses["loss"].backward()
        reached |= {k for k, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        optimiser.step()
        values.append(losses["loss"].item())
    assert {k for k, _ in model.named_parameters()} == reached
    assert values[-1] < 0.8 * values[0]
    if name == "treelearn":
        assert all(np.isfinite(cloud.fields["tree_foot"]).any() for cloud in batch.clouds)


def test_scores_wait_for_their_epoch(tiny: dict[str, Any]) -> None:
    module = build(experiment(tiny))
    batch = collate([module.train_data[(0, 0)]])
    module.model.train().at_epoch(1)
    assert float(module.losses(batch)["score"]) == 0
    module.model.at_epoch(2)
    assert float(module.losses(batch)["score"].detach()) > 0


def test_rates_over_epochs() -> None:
    exponential = TrainingConfig(epochs=10, schedule="exponential", rate_decay=0.9)
    assert [rate_factor(s, exponential, 40) for s in (0, 3, 4, 39)] == pytest.approx([1, 1, 0.9, 0.9**9])
    cosine = TrainingConfig(epochs=10, schedule="cosine", warm_up=2)
    factors = [rate_factor(s, cosine, 40) for s in range(40)]
    assert factors[0] == pytest.approx(1 / 9)
    assert factors[8] == 1.0
    assert factors[24] == pytest.approx(0.5)
    assert factors[:8] == sorted(factors[:8])
    assert factors[8:] == sorted(factors[8:], reverse=True)


def test_what_cannot_teach_trees(tiny: dict[str, Any], tmp_path: Path) -> None:
    wrong = {**tiny, "data": {"train": [{"name": "street"}]}}
    with pytest.raises(PerceptionError, match="street") as caught:
        experiment(wrong)
    assert "forest_trees" in str(caught.value)
    assert "for_instance" in str(caught.value)
    with pytest.raises(PerceptionError, match="augment for"):
        experiment({**tiny, "augment": {"flip_x": 0.1}})
    with pytest.raises(PerceptionError, match="second"):
        experiment({"model": "second", "data": tiny["data"]})
    cloud = PointCloud(np.random.default_rng(0).random((50, 3)), {"treeID": np.zeros(50, np.int32)})
    write_points(tmp_path / "zero.las", cloud)
    tiny["data"]["train"] = [{"name": "trees_las", "options": {"root": str(tmp_path)}}]
    with pytest.raises(PerceptionError, match="tree id 0"):
        train(experiment(tiny), tmp_path / "run")
