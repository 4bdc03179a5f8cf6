"""Answers of the published models, stored when they equalled the official ones: a public checkout proves it too.

`python tests/models/test_stored_answers.py` writes the files again; do so only after tools/check_golden.py holds.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from perception.models.catalogue import MODELS
from perception.models.detector import AnchorDetector
from perception.points import PointBatch

FOLDER = Path(__file__).resolve().parents[1] / "golden"
NAMES = ("second", "pointpillars")
RANGES = {"second": (0.0, -8.0, -3.0, 16.0, 8.0, 1.0), "pointpillars": (0.0, -10.24, -3.0, 20.48, 10.24, 1.0)}


def build(name: str) -> AnchorDetector:
    """The model on a small range, every number drawn from a generator seeded by its key."""
    entry = MODELS[name]
    model = entry.make(replace(entry.defaults, point_range=RANGES[name])).eval()
    assert isinstance(model, AnchorDetector)
    state = {}
    for key, value in model.state_dict().items():
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
        generator = np.random.Generator(np.random.PCG64(seed))
        if key.endswith("num_batches_tracked"):
            drawn = np.ones(value.shape)
        elif key.endswith("running_var"):
            drawn = generator.uniform(0.5, 1.5, value.shape)
        elif key.endswith("norm.weight") or (key.endswith("weight") and value.ndim == 1):
            drawn = generator.uniform(0.8, 1.2, value.shape)
        elif value.ndim == 1:
            drawn = 0.1 * generator.standard_normal(value.shape) - (2.0 if key == "head.score.bias" else 0.0)
        else:
            fan = value[0].numel() if "ups" not in key else len(value)
            drawn = generator.standard_normal(value.shape) * (1.4 / np.sqrt(fan)) * (0.2 if "residual" in key else 1)
        state[key] = torch.from_numpy(np.asarray(drawn)).to(value.dtype)
    model.load_state_dict(state)
    return model


def points() -> PointBatch:
    """Two clouds of unequal size, no point near a voxel's face."""
    generator = np.random.Generator(np.random.PCG64(7))
    cell = generator.integers(0, [320, 320, 40], (900, 3))
    xyz = np.array([0.0, -8.0, -3.0]) + (cell + generator.uniform(0.1, 0.9, (900, 3))) * np.array([0.05, 0.05, 0.1])
    values = np.column_stack([xyz, generator.uniform(0, 1, 900)]).astype(np.float32)
    sample = np.repeat([0, 1], [600, 300])
    return PointBatch(torch.from_numpy(values), torch.from_numpy(sample), 2)


def answers(name: str) -> dict[str, np.ndarray]:
    model = build(name)
    with torch.inference_mode():
        features = model.features(model.voxelise(points()))
        predictions = model.head(features)
        results = model.results(predictions)
    flat = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    stored = {
        "features": flat[:: len(flat) // 24, ::16].numpy(),
        "mean": features.double().mean((0, 2, 3))[::8].numpy(),
        "scores": predictions.scores.flatten(0, 1)[::397].numpy(),
        "residuals": predictions.residuals.flatten(0, 1)[::397].numpy(),
    }
    for sample, found in enumerate(results):
        stored[f"boxes{sample}"] = found.boxes.values[:20].numpy()
        stored[f"labels{sample}"] = found.labels[:20].numpy()
    return stored


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_those_stored(name: str) -> None:
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as archive:
        stored = {key: archive[key] for key in archive.files}
    ours = answers(name)
    assert ours.keys() == stored.keys()
    for key, value in stored.items():
        if key.startswith("labels"):
            assert np.array_equal(ours[key], value)
        else:
            np.testing.assert_allclose(ours[key], value, atol=2e-3 if key.startswith("boxes") else 2e-4, rtol=1e-4)


if __name__ == "__main__":
    for written in NAMES:
        np.savez_compressed(FOLDER / f"{written}.npz", **{k: np.asarray(v) for k, v in answers(written).items()})
