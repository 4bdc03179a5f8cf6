"""Checks that every model of scene flow passes; a new entry of the catalogue is covered by being there."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_all_models import randomise

from perception.errors import PerceptionError
from perception.flow_pipeline import FlowStream, perceive_flow
from perception.io.weights import Card, read_model, save_weights
from perception.models.catalogue import MODELS
from perception.models.flow_model import FlowModel
from perception.pipeline import perceive
from perception.points import PointCloud
from perception.results import SceneFlow
from perception.scan_pair import FlowTruth, ScanPair

SMALL = (-6.4, -6.4, -3.0, 6.4, 6.4, 3.0)
POSE = np.array([[0.8, -0.6, 0, 0.5], [0.6, 0.8, 0, -0.2], [0, 0, 1, 0.1], [0, 0, 0, 1.0]])
FLOW_MODELS = sorted(name for name, entry in MODELS.items() if entry.task == "flow")


@pytest.fixture(params=FLOW_MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def build(name: str) -> FlowModel:
    torch.manual_seed(1)
    model = MODELS[name].make(replace(MODELS[name].defaults, point_range=SMALL)).eval()
    randomise(model)
    assert isinstance(model, FlowModel)
    return model


def cloud(count: int, seed: int = 0) -> PointCloud:
    generator = np.random.default_rng(seed)
    return PointCloud(generator.uniform([-7, -7, -2], [7, 7, 2], (count, 3)))


def pair(first: int, second: int, seed: int = 0) -> ScanPair:
    return ScanPair(cloud(first, seed), cloud(second, seed + 1), POSE)


def flows(model: FlowModel, pairs: list[ScanPair]) -> list[torch.Tensor]:
    return [found.flow for found in perceive_flow(model, pairs)]


def test_results_are_well_formed(name: str) -> None:
    given = pair(800, 700)
    (found,) = perceive_flow(build(name), [given])
    assert isinstance(found, SceneFlow)
    assert found.flow.shape == (800, 3)
    assert found.moving.shape == (800,)
    assert found.moving.dtype == torch.bool
    assert torch.isfinite(found.flow).all()
    assert found.moving.any()


def test_points_out_of_range_and_on_the_ground_move_with_the_sensor(name: str) -> None:
    xyz = cloud(500).xyz.copy()
    xyz[:50, 0] += 1000
    ground = np.arange(500) % 5 == 1
    given = ScanPair(PointCloud(xyz, {"ground": ground}), cloud(400, 1), POSE)
    (found,) = perceive_flow(build(name), [given])
    still = ground | (np.arange(500) < 50)
    ego = torch.from_numpy(given.ego_flow())
    assert torch.equal(found.flow[still], ego[still])
    assert not found.moving[still].any()
    assert ((found.flow - ego)[~still].norm(dim=1) > 0).float().mean() > 0.5


def test_ground_points_do_not_change_the_others(name: str) -> None:
    model, plain = build(name), pair(300, 300)
    more = cloud(100, 9)

    def with_ground(scan: PointCloud) -> PointCloud:
        marks = np.arange(len(scan) + 100) >= len(scan)
        return PointCloud(np.concatenate([scan.xyz, more.xyz]), {"ground": marks})

    marked = ScanPair(with_ground(plain.first), with_ground(plain.second), POSE)
    before, after = flows(model, [plain])[0], flows(model, [marked])[0]
    assert torch.equal(before, after[:300])


def test_save_and_load_is_exact(name: str, tmp_path: Path) -> None:
    model = build(name)
    path = tmp_path / "weights.safetensors"
    save_weights(path, name, model, Card(trained_on="nothing", licence="Apache-2.0"))
    again, header = read_model(path)
    assert header.model == name
    assert again.config == model.config
    assert isinstance(again, FlowModel)
    assert torch.equal(flows(model, [pair(600, 500)])[0], flows(again, [pair(600, 500)])[0])


@pytest.mark.parametrize("counts", [(0, 0), (0, 300), (300, 0), (1, 0), (1, 1)])
def test_empty_scans_and_single_points(name: str, counts: tuple[int, int]) -> None:
    (found,) = perceive_flow(build(name), [pair(*counts)])
    assert found.flow.shape == (counts[0], 3)
    assert torch.isfinite(found.flow).all()


def test_no_pairs(name: str) -> None:
    assert perceive_flow(build(name), []) == []


def test_all_points_out_of_range(name: str) -> None:
    far = ScanPair(cloud(100).with_xyz(cloud(100).xyz + 1000), cloud(100).with_xyz(cloud(100).xyz - 1000))
    assert torch.equal(flows(build(name), [far])[0], torch.zeros(100, 3))


def test_points_that_are_not_finite_are_left_out(name: str) -> None:
    model, plain = build(name), pair(200, 200)
    xyz = np.concatenate([plain.first.xyz, [[np.nan, 0, 0], [0, np.inf, 0]]])
    (found,) = flows(model, [ScanPair(PointCloud(xyz), plain.second, POSE)])
    assert torch.equal(found[:200], flows(model, [plain])[0])


def test_order_of_points_does_not_matter(name: str) -> None:
    model, given = build(name), pair(600, 500)
    generator = np.random.default_rng(3)
    order, other = generator.permutation(600), generator.permutation(500)
    shuffled = ScanPair(given.first.select(order), given.second.select(other), POSE)
    torch.testing.assert_close(flows(model, [given])[0][order], flows(model, [shuffled])[0], atol=1e-4, rtol=1e-4)


def test_batch_equals_singles_with_an_empty_one_between(name: str) -> None:
    model = build(name)
    pairs = [pair(700, 600), pair(0, 0), pair(0, 50, 8), pair(300, 500, 5)]
    for single, batched in zip(pairs, flows(model, pairs)):
        torch.testing.assert_close(flows(model, [single])[0], batched, atol=1e-4, rtol=1e-4)


def test_same_input_same_bits(name: str) -> None:
    model = build(name)
    assert torch.equal(flows(model, [pair(600, 500)])[0], flows(model, [pair(600, 500)])[0])


def test_a_stream_equals_pairs(name: str) -> None:
    model = build(name)
    scans = [cloud(300, seed) for seed in range(3)]
    stream = FlowStream(model)
    assert stream.push(scans[0]) is None
    for before, scan in itertools.pairwise(scans):
        found = stream.push(scan, POSE)
        assert found is not None
        assert torch.equal(found.flow, flows(model, [ScanPair(before, scan, POSE)])[0])
        assert {"points", "voxelise", *model.stages, "results"} == set(stream.stopwatch.seconds)
    stream.reset()
    assert stream.push(scans[0]) is None


@pytest.mark.parametrize("loss", ["deflow", "zeroflow", "fastflow3d", "seflow"])
def test_loss_falls_and_reaches_every_parameter(name: str, loss: str) -> None:
    if name == "ssf-long":
        pytest.skip("the network of ssf, in so small a range")
    model = MODELS[name].make(replace(MODELS[name].defaults, point_range=SMALL, loss=loss)).train()
    pairs = [moving_pair(900), moving_pair(700, 4)]
    truths = [truth(given) for given in pairs]
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-4)
    losses = []
    for _ in range(8):
        value = model.loss(model(model.voxelise(model.points(pairs))), truths)["loss"]
        optimiser.zero_grad()
        value.backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
        assert all(p.grad.abs().sum() > 0 for p in model.parameters() if p.ndim > 1)
        optimiser.step()
        losses.append(value.item())
    assert losses[-1] < 0.95 * losses[0]


def beyond(scan: PointCloud) -> np.ndarray:
    """What half the world moves by."""
    return np.where(scan.xyz[:, :1] > 0, [0.5, 0.2, 0.0], 0.0).astype(np.float32)


def moving_pair(count: int, seed: int = 0) -> ScanPair:
    still = ScanPair(cloud(count, seed), cloud(0), POSE)
    return ScanPair(still.first, PointCloud(still.moved() + beyond(still.first)), POSE)


def truth(given: ScanPair) -> FlowTruth:
    """Some of the flow is not known; the second scan's motion is told by the first one's rows."""
    flow = torch.from_numpy(given.ego_flow() + beyond(given.first))
    flow[::7] = torch.nan
    moving = given.first.xyz[:, 0] > 0
    labels = np.where(moving, 2, 0)
    later = np.resize(labels, len(given.second))
    return FlowTruth(flow, torch.from_numpy(moving), (torch.from_numpy(labels), torch.from_numpy(later)))


@pytest.mark.parametrize("loss", ["deflow", "zeroflow", "fastflow3d", "seflow"])
def test_training_on_empty_scans(name: str, loss: str) -> None:
    model = MODELS[name].make(replace(MODELS[name].defaults, point_range=SMALL, loss=loss)).train()
    pairs = [pair(0, 0), pair(1, 0), pair(0, 1)]
    value = model.loss(model(model.voxelise(model.points(pairs))), [truth(given) for given in pairs])["loss"]
    value.backward()
    assert torch.isfinite(value)


@pytest.mark.parametrize("dense", ["deflow", "fastflow3d"])
def test_dense_pillars_of_several_layers_are_refused(dense: str) -> None:
    with pytest.raises(PerceptionError, match="2 layers of voxels"):
        MODELS[dense].make(replace(MODELS[dense].defaults, voxel_size=(0.2, 0.2, 3.0)))


def test_single_clouds_are_refused(name: str) -> None:
    with pytest.raises(PerceptionError, match="single clouds"):
        perceive(build(name), [cloud(10)])


def test_a_loss_says_what_it_needs(name: str) -> None:
    model = build(name)
    predictions = model(model.voxelise(model.points([pair(10, 10)])))
    with pytest.raises(PerceptionError, match="a FlowTruth without"):
        model.loss(predictions, [FlowTruth()])
    with pytest.raises(PerceptionError, match="one a pair"):
        model.loss(predictions, [])
