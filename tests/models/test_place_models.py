"""Checks that every model of place recognition in the catalogue passes; a new entry is covered by being there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perception.errors import PerceptionError
from perception.io.weights import Card, read_model, save_weights
from perception.models.catalogue import MODELS
from perception.models.hotformerloc import HOTFormerLoc, HOTFormerLocConfig
from perception.models.minkloc3dv2 import MinkLoc3Dv2Config
from perception.models.model import Model
from perception.models.place_model import PlacePairs
from perception.pipeline import perceive
from perception.points import PointCloud
from perception.results import PlaceDescriptor

# Narrow enough for two cores; windows small enough that a cloud has many of them, and not a whole number.
SMALL: dict[type, dict[str, Any]] = {
    HOTFormerLocConfig: {
        "window": 8,
        "channels": (16, 32),
        "heads": (2, 4),
        "blocks": (2, 3),
        "pooled": (8, 4, 4),
        "descriptor": 32,
        "drop_path": 0.0,
    },
    MinkLoc3Dv2Config: {"planes": (16, 32, 16, 8), "descriptor": 32, "step": 0.05},
}


def build(name: str, **changes: Any) -> Model:
    torch.manual_seed(1)
    entry = MODELS[name]
    model = entry.make(replace(entry.defaults, **SMALL[type(entry.defaults)], **changes)).eval()
    for key, parameter in model.named_parameters():
        if "norm" in key:  # fresh ones hide a mistake in normalisation
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
        elif parameter.ndim > 1 and "table" not in key:
            torch.nn.init.normal_(parameter, 0, (2 / parameter[0].numel()) ** 0.5)
        elif parameter.ndim > 1:
            torch.nn.init.normal_(parameter, 0, 0.5)
    return model


def cloud(count: int, seed: int = 0) -> PointCloud:
    """Points about some centres in the unit cylinder."""
    generator = np.random.default_rng(seed)
    centres = generator.uniform(-0.6, 0.6, (12, 3))
    xyz = centres[generator.integers(0, 12, count)] + generator.normal(0, 0.05, (count, 3))
    return PointCloud(np.clip(xyz, -0.7, 0.7).astype(np.float32))


def descriptors(model: Model, clouds: list[PointCloud]) -> torch.Tensor:
    found = perceive(model, clouds)
    assert all(isinstance(one, PlaceDescriptor) for one in found)
    return torch.stack([one.descriptor for one in found])


@pytest.fixture(params=sorted(name for name, entry in MODELS.items() if entry.task == "places"))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("count", [1, 10, 900])
def test_results_are_well_formed(name: str, count: int) -> None:
    model = build(name)
    found = descriptors(model, [cloud(count)])
    assert found.shape == (1, 32)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    if isinstance(model, HOTFormerLoc):
        torch.testing.assert_close(found.norm(dim=1), torch.ones(1))


def test_a_cloud_without_points_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(PerceptionError, match="cloud 1 of 3 has no points"):
        descriptors(build(name), [cloud(50), cloud(0), cloud(20)])


def test_save_and_load_is_exact(name: str, tmp_path: Path) -> None:
    model = build(name)
    path = tmp_path / "weights.safetensors"
    save_weights(path, name, model, Card(trained_on="nothing", licence="Apache-2.0"))
    again, header = read_model(path)
    assert header.model == name
    assert again.config == model.config
    assert torch.equal(descriptors(model, [cloud(300)]), descriptors(again, [cloud(300)]))


def test_order_of_points_does_not_matter(name: str) -> None:
    model, points = build(name), cloud(600)
    shuffled = points.select(np.random.default_rng(3).permutation(len(points)))
    torch.testing.assert_close(descriptors(model, [points]), descriptors(model, [shuffled]), atol=2e-5, rtol=1e-4)


def test_same_input_same_bits(name: str) -> None:
    model, points = build(name), [cloud(400), cloud(300, 2)]
    assert torch.equal(descriptors(model, points), descriptors(model, points))


def test_batch_equals_singles(name: str) -> None:
    changes = {"windows": "cloud"} if isinstance(MODELS[name].defaults, HOTFormerLocConfig) else {}
    model = build(name, **changes)
    clouds = [cloud(500), cloud(1, 3), cloud(10, 4), cloud(700, 5)]
    singles = torch.cat([descriptors(model, [one]) for one in clouds])
    torch.testing.assert_close(descriptors(model, clouds), singles, atol=2e-5, rtol=1e-4)
    backwards = descriptors(model, clouds[::-1]).flip(0)
    torch.testing.assert_close(backwards, singles, atol=2e-5, rtol=1e-4)


def test_size_and_place_do_not_matter_to_a_normalising_model(name: str) -> None:
    changes = {"coordinates": "cartesian"} if isinstance(MODELS[name].defaults, HOTFormerLocConfig) else {}
    model, points = build(name, normalise=True, **changes), cloud(300)
    larger = points.with_xyz(points.xyz * np.float32(4))
    torch.testing.assert_close(descriptors(model, [points]), descriptors(model, [larger]), atol=1e-4, rtol=1e-4)


def test_cells_moved_by_whole_coarsest_cells_keep_their_descriptor() -> None:
    model = build("minkloc3dv2")
    cells = np.unique(np.random.default_rng(1).integers(-20, 20, (300, 3)), axis=0)
    middles = (cells + 0.5) * 0.05
    first, second = (descriptors(model, [PointCloud(middles + moved * 0.05)]) for moved in (0, 16))
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)
    assert (descriptors(model, [PointCloud(middles + 0.05)]) - first).abs().max() > 1e-3


def test_loss_falls_and_reaches_every_parameter(name: str) -> None:
    model = build(name).train()
    clouds = [cloud(150 + 40 * repeat, place) for place in range(3) for repeat in range(2)]
    positions = torch.tensor([[100.0 * place, 2.0 * repeat] for place in range(3) for repeat in range(2)])
    pairs = PlacePairs.of(positions, 10, 50)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        loss = model.loss(model(model.voxelise(model.points(clouds))), pairs)["loss"]  # type: ignore[call-arg,arg-type]
        optimiser.zero_grad()
        loss.backward()
        for key, parameter in model.named_parameters():
            assert parameter.grad is not None, key
            assert torch.isfinite(parameter.grad).all(), key
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


OCTREES = sorted(name for name, entry in MODELS.items() if isinstance(entry.defaults, HOTFormerLocConfig))


@pytest.mark.parametrize("name", OCTREES)
def test_published_windows_run_on_into_the_next_cloud(name: str) -> None:
    model, clouds = build(name), [cloud(500), cloud(300, 2)]
    alone = torch.cat([descriptors(model, [one]) for one in clouds])
    together = descriptors(model, clouds)
    torch.testing.assert_close(together[0], alone[0], atol=2e-5, rtol=1e-4)
    assert (together[1] - alone[1]).abs().max() > 1e-3
    by_cloud = build(name, windows="cloud")
    assert torch.equal(descriptors(by_cloud, clouds[:1]), alone[:1])


@pytest.mark.parametrize("name", OCTREES)
def test_points_outside_do_not_count(name: str) -> None:
    model, points = build(name, normalise=False), cloud(200)
    more = PointCloud(np.concatenate([points.xyz, [[2, 0, 0], [0, -1.5, 0], [np.nan, 0, 0]]]))
    assert torch.equal(descriptors(model, [points]), descriptors(model, [more]))
    with pytest.raises(PerceptionError, match=r"no points inside \[-1, 1\]"):
        descriptors(model, [points.with_xyz(points.xyz + 50)])


def test_too_shallow_an_octree_is_refused() -> None:
    with pytest.raises(PerceptionError, match="octree of depth 5"):
        HOTFormerLoc(HOTFormerLocConfig(depth=5))


def test_pairs_by_position() -> None:
    pairs = PlacePairs.of(torch.tensor([[0.0, 0], [3, 4], [0, 20], [0, 100]]), 10, 50)
    assert pairs.positives.nonzero().tolist() == [[0, 1], [1, 0]]
    assert pairs.negatives[3].tolist() == [True, True, True, False]
    assert not pairs.negatives[0, 2]
    with pytest.raises(PerceptionError, match="radii"):
        PlacePairs.of(torch.zeros(1, 2), 50, 10)
