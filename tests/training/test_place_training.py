"""Training of models of places: it learns, in chunks as in one piece, and goes on with the same bits."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from perception.errors import PerceptionError
from perception.training.data import collate
from perception.training.fit import build, train
from perception.training.place_batch import PlaceBatch
from perception.training.schedule import make_optimiser, rate_factor
from perception.training.settings import Experiment, check_experiment


@pytest.fixture
def tiny() -> dict[str, Any]:
    loops = {"worlds": 2, "length": 120.0, "spacing": 15.0, "sensors": ["hdl32"]}
    return {
        "model": "minkloc3dv2-small",
        "overrides": {"planes": [8, 8], "top_down": 1, "descriptor": 16, "temperature": 0.1, "step": 2.0},
        "data": {"train": [{"name": "loops", "options": loops}]},
        "places": {"radii": {"positive": 16.0, "negative": 30.0}, "chunk": 64},
        "place_augment": {"rotation": 3.1, "flip_x": 0.5, "dropout": 0.2},
        "training": {"epochs": 2, "batch_size": 8, "workers": 0, "threads": 1, "learning_rate": 0.01},
    }


def experiment(values: dict[str, Any]) -> Experiment:
    return check_experiment(values, "the test")


@pytest.mark.parametrize("chunk", [64, 6])
def test_resumed_training_ends_with_the_same_bits(tiny: dict[str, Any], tmp_path: Path, chunk: int) -> None:
    tiny["places"]["chunk"] = chunk
    tiny["training"] |= {"checkpoint_steps": 3}
    tiny["data"]["validate"] = tiny["data"]["train"]
    whole = train(experiment(tiny), tmp_path / "whole")
    assert whole.weights is not None
    (tmp_path / "broken").mkdir()
    shutil.copy(tmp_path / "whole" / "last.ckpt", tmp_path / "broken")
    resumed = train(experiment(tiny), tmp_path / "broken", resume=True)
    assert resumed.weights is not None
    one, other = load_file(whole.weights), load_file(resumed.weights)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_loss_falls(tiny: dict[str, Any]) -> None:
    module = build(experiment(tiny))
    batch = collate([module.train_data[(0, index)] for index in range(8)])
    assert isinstance(batch, PlaceBatch)
    assert len(batch.clouds) == 2 * len(batch) == 16
    optimiser = torch.optim.Adam(module.model.parameters(), 0.003)
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        loss = module.losses(batch)["loss"]
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert min(losses[-5:]) < 0.7 * losses[0]


def test_pairs_are_of_one_place_and_regions_stay_apart(tiny: dict[str, Any]) -> None:
    settings = experiment(tiny)
    module = build(settings)
    data = module.train_data
    for index in range(0, len(data), 5):
        pair = data[(0, index)]  # type: ignore[index]
        apart = np.linalg.norm(pair.anchor.position - pair.positive.position)
        assert 0 < apart <= 16.0
        assert pair.anchor.region == pair.positive.region
    batch = collate([data[(0, index)] for index in (0, len(data) - 1)])
    pairs = batch.pairs(settings.places.radii)
    assert pairs.negatives[0, 2]
    assert pairs.positives[0, 1]
    assert not pairs.positives.diagonal().any()


def test_pairs_depend_on_epoch_and_index_alone(tiny: dict[str, Any]) -> None:
    one, other = (build(experiment(tiny)).train_data for _ in range(2))
    for key in ((0, 3), (1, 3)):
        np.testing.assert_array_equal(one[key].positive.cloud.xyz, other[key].positive.cloud.xyz)  # type: ignore[attr-defined]
    assert len(one[(0, 3)].anchor.cloud) != len(one[(1, 3)].anchor.cloud)  # type: ignore[attr-defined]


def test_distillation_needs_an_average_and_joins_late(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny["places"] |= {"distillation": 1.0, "distillation_from": 0.5}
    tiny["training"] |= {"average": 0.9}
    module = build(experiment(tiny))
    assert not module._distils(torch.zeros(2, 2, requires_grad=True))  # type: ignore[attr-defined]
    assert train(experiment(tiny), tmp_path / "run").weights is not None
    assert any((tmp_path / "run" / "logs").rglob("*.csv")) or any((tmp_path / "run" / "logs").rglob("events*"))


def test_places_without_revisits_are_refused(tiny: dict[str, Any]) -> None:
    tiny["places"]["radii"] = {"positive": 0.01, "negative": 30.0}
    with pytest.raises(PerceptionError, match="none of 32 recordings has another within"):
        build(experiment(tiny))


def test_other_data_sets_are_refused(tiny: dict[str, Any]) -> None:
    tiny["data"]["train"] = [{"name": "street", "options": {"length": 3}}]
    with pytest.raises(PerceptionError, match="for this model one of"):
        experiment(tiny)


def test_the_published_schedule(tiny: dict[str, Any]) -> None:
    tiny["training"] |= {
        "epochs": 100, "schedule": "milestones", "warm_up": 5.0, "milestones": [50], "coupled_decay": True,
    }  # fmt: skip
    settings = experiment(tiny).training
    factors = [rate_factor(step, settings, 1000) for step in (0, 25, 50, 499, 500, 999)]
    np.testing.assert_allclose(factors, [0.1 / 5.1, 2.6 / 5.1, 1, 1, 0.1, 0.1], rtol=1e-6)
    assert type(make_optimiser(torch.nn.Linear(2, 2), settings)) is torch.optim.Adam
