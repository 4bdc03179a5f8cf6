"""Training of flow models: it learns, it goes on with the same bits, and it refuses what it cannot learn from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from perception.datasets.flow.pairs import FlowSample
from perception.errors import PerceptionError
from perception.scan_pair import ScanPair
from perception.scene_flow.icp_clusters import cluster_flow
from perception.scene_flow.methods import flow_method
from perception.simulate.flow import StreetFlow
from perception.training.data import collate
from perception.training.evaluation_flow import evaluate_flow, flow_frame
from perception.training.fit import build, train
from perception.training.flow_batch import FlowBatch
from perception.training.settings import Experiment, check_experiment


@pytest.fixture
def tiny() -> dict[str, Any]:
    return {
        "model": "fastflow3d",
        "overrides": {"point_range": [-12.8, -12.8, -3.0, 12.8, 12.8, 3.0], "voxel_size": [0.4, 0.4, 6.0]},
        "data": {"train": [{"name": "street_flow", "options": {"length": 4, "sensor": "hdl32"}}]},
        "flow_augment": {"flip_x": 0.5, "jitter": 0.01},
        "training": {"epochs": 4, "batch_size": 2, "workers": 0, "threads": 1, "learning_rate": 0.001},
    }


def experiment(values: dict[str, Any]) -> Experiment:
    return check_experiment(values, "the test")


def test_resumed_training_ends_with_the_same_bits(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny["training"] |= {"checkpoint_steps": 3, "picture_every": 4}
    whole = train(experiment(tiny), tmp_path / "whole")
    assert whole.weights is not None
    assert (tmp_path / "whole" / "pictures" / "epoch_004.png").is_file()
    (tmp_path / "broken").mkdir()
    shutil.copy(tmp_path / "whole" / "last.ckpt", tmp_path / "broken")  # of step 6 of 8
    resumed = train(experiment(tiny), tmp_path / "broken", resume=True)
    assert resumed.weights is not None
    one, other = load_file(whole.weights), load_file(resumed.weights)
    assert all(torch.equal(one[key], other[key]) for key in one)
    method = flow_method(str(whole.weights))
    assert "street_flow" in method.trained_on
    found = method(StreetFlow(1, sensor="hdl32")[0].pair)
    assert found.flow.isfinite().all()


def test_the_loss_falls(tiny: dict[str, Any]) -> None:
    tiny["data"]["train"][0]["options"] |= {"length": 1, "seed": 3}
    module = build(experiment(tiny))
    batch = collate([module.train_data[(0, 0)]])
    optimiser = torch.optim.Adam(module.model.parameters(), 2e-4)
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        loss = module.losses(batch)["loss"]
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert min(losses[-5:]) < 0.7 * losses[0]


def test_the_constant_schedule_is_constant(tiny: dict[str, Any]) -> None:
    from perception.training.schedule import make_optimiser, make_schedule

    tiny["training"] |= {"schedule": "constant", "momentum": [0.9, 0.9], "beta2": 0.999, "weight_decay": 0.0}
    settings = experiment(tiny).training
    optimiser = make_optimiser(torch.nn.Linear(2, 2), settings)
    schedule = make_schedule(optimiser, settings, 10)
    assert optimiser.param_groups[0]["betas"] == (0.9, 0.999)
    for _ in range(5):
        optimiser.step()
        schedule.step()
    assert optimiser.param_groups[0]["lr"] == settings.learning_rate


def test_models_and_data_sets_must_fit(tiny: dict[str, Any]) -> None:
    with pytest.raises(PerceptionError, match="street_flow"):
        experiment({**tiny, "data": {"train": [{"name": "street"}]}})
    with pytest.raises(PerceptionError, match="with the data set street_flow"):
        experiment({**tiny, "model": "pointpillars-small", "overrides": {}, "flow_augment": {}})
    with pytest.raises(PerceptionError, match="flow_augment"):
        experiment({**tiny, "augment": {"flip_x": 0.1}})
    with pytest.raises(PerceptionError, match="flip_x"):
        experiment({**tiny, "flow_augment": {"flipx": 0.1}})


def test_pairs_without_labels_cannot_be_learned() -> None:
    sample = StreetFlow(1, sensor="hdl32")[0]
    bare = FlowSample("a pair", sample.pair)
    with pytest.raises(PerceptionError, match="a pair has no labels"):
        FlowBatch.of([sample, bare])
    with pytest.raises(PerceptionError, match="a pair has no labels"):
        flow_frame(bare, cluster_flow(bare.pair))


def test_evaluation(tmp_path: Path) -> None:
    pairs = StreetFlow(3, sensor="hdl32")

    def perfect(pair: ScanPair):  # type: ignore[no-untyped-def]
        labels = next(
            s.labels for s in (pairs[i] for i in range(3)) if np.array_equal(s.pair.first.xyz, pair.first.xyz)
        )
        assert labels is not None
        found = cluster_flow(pair)
        return type(found)(torch.from_numpy(labels.flow), torch.from_numpy(labels.moving))

    best = evaluate_flow(perfect, [pairs], limit=2, results=tmp_path)
    assert best.frames == 2
    assert best.three_way["Three-way"] == 0
    assert len(list(tmp_path.glob("*.npz"))) == 2
    clusters = evaluate_flow(cluster_flow, [pairs])
    assert 0 < clusters.three_way["Three-way"] < 0.1
    assert clusters.speeds.count.sum() > 10_000
    values = clusters.as_dict()
    assert values["bucketed"]["BACKGROUND"]["Dynamic"] is None
    assert "three-way" in clusters.table()
    # Frames one by one tell the same as all at once.
    from perception.datasets.flow.classes import GROUPS
    from perception.metrics.scene_flow import range_cells, speed_cells

    frames = [flow_frame(pairs[i], cluster_flow(pairs[i].pair)) for i in range(3)]
    for ours, wanted in ((clusters.speeds, speed_cells(frames, GROUPS)), (clusters.ranges, range_cells(frames))):
        np.testing.assert_allclose(ours.error, wanted.error, equal_nan=True)
        np.testing.assert_allclose(ours.about, wanted.about, equal_nan=True)
        assert np.array_equal(ours.count, wanted.count)
    with pytest.raises(PerceptionError, match="no pairs"):
        evaluate_flow(cluster_flow, [pairs], limit=0)
