"""DSVT on nuScenes against numbers of its own repository's code (Haiyang-W/DSVT, commit 8cfc2a6), on made weights.

tests/golden/dsvt_nuscenes.npz holds the official keys with their shapes and, for the weights and points below, samples
of the official stages and the best of the official boxes; the grid is a third of the published one along x and y.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_weights import drawn

from perception.io.importers.openpcdet import importer as openpcdet
from perception.models.catalogue import MODELS
from perception.models.dsvt import DSVTNuScenes
from perception.points import PointBatch

STORED = Path(__file__).resolve().parents[1] / "golden" / "dsvt_nuscenes.npz"
NAME, HALF, CELL = "dsvt-pillar-nuscenes", 18.0, 0.3


def points() -> PointBatch:
    """Two clouds of clustered points, none near a pillar's side."""
    generator, number = np.random.Generator(np.random.PCG64(7)), 900
    centre = generator.uniform(-HALF * 0.9, HALF * 0.9, (40, 2))
    xy = centre[generator.integers(0, 40, number)] + generator.normal(0, HALF / 12, (number, 2))
    cell = np.clip(np.floor((xy + HALF) / CELL), 0, round(2 * HALF / CELL) - 1)
    xy = -HALF + (cell + generator.uniform(0.1, 0.9, (number, 2))) * CELL
    z, intensity, time = (generator.uniform(*bounds, number) for bounds in ((-4.5, 2.5), (0, 1), (0, 0.5)))
    values = np.column_stack([xy, z, intensity, time]).astype(np.float32)
    return PointBatch(torch.from_numpy(values), torch.arange(number) // 600, 2)


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    with np.load(STORED, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


@pytest.fixture(scope="module")
def model(stored: dict[str, np.ndarray]) -> DSVTNuScenes:
    entry = MODELS[NAME]
    made = entry.make(replace(entry.defaults, point_range=(-HALF, -HALF, -5.0, HALF, HALF, 3.0))).eval()
    assert isinstance(made, DSVTNuScenes)
    state = {}
    for line in stored["keys"].tobytes().decode().splitlines():
        key, _, sizes = line.partition(" ")
        shape = tuple(int(size) for size in sizes.strip("()").split(",") if size.strip())
        state[key] = torch.from_numpy(np.asarray(drawn(key, shape)))
    openpcdet.load_official(made, NAME, state)
    return made


def test_stages_and_boxes_are_the_official_ones(model: DSVTNuScenes, stored: dict[str, np.ndarray]) -> None:
    seen: dict[str, torch.Tensor] = {}
    model.backbone.register_forward_hook(lambda _m, _i, out: seen.update(backbone=out.features))
    model.bev.register_forward_hook(lambda _m, _i, out: seen.update(bev=out))
    with torch.inference_mode():
        predictions = model(model.voxelise(points()))
        results = model.results(predictions)
    for ours, key in (
        (seen["backbone"][::24, ::8], "backbone"),
        (seen["bev"][:, ::32, ::14, ::14], "bev"),
        (predictions.heatmap[:, :, ::10, ::10], "heatmap"),
    ):
        np.testing.assert_allclose(ours.numpy(), stored[key], atol=2e-4, rtol=1e-4)
    for sample, found in enumerate(results):
        assert len(found) == stored[f"count{sample}"]
        assert found.boxes.velocity is not None
        ours = torch.cat([found.boxes.values, found.boxes.velocity], 1).numpy()
        difference = np.abs(ours[:, None] - stored[f"boxes{sample}"][None])
        difference[..., 6] = np.minimum(difference[..., 6] % (2 * np.pi), -difference[..., 6] % (2 * np.pi))
        twin = (difference < 2e-3).all(-1)
        twin &= np.abs(found.scores.numpy()[:, None] - stored[f"scores{sample}"][None]) < 1e-4
        twin &= found.labels.numpy()[:, None] == stored[f"labels{sample}"][None]
        assert twin.any(0).all()


def test_suppression_and_rectification_had_something_to_do(stored: dict[str, np.ndarray]) -> None:
    assert 0 < stored["count0"] < 200
    assert {8, 9} & set(stored["labels0"].tolist())
