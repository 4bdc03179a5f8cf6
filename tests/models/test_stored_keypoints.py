"""Answers of VoxelKP, narrowed, stored when the whole one equalled the official one: a public checkout proves it too.

`python tests/models/test_stored_keypoints.py` writes the file again; do so only after tools/check_golden.py holds.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from drawn_weights import drawn

from perception.models.voxelkp import VoxelKP, VoxelKPConfig
from perception.points import PointBatch

FILE = Path(__file__).resolve().parents[1] / "golden" / "voxelkp-narrow.npz"


def build() -> VoxelKP:
    """An eighth of the widths on a small range, every number drawn from a generator seeded by its key."""
    published = VoxelKPConfig()
    config = replace(
        published,
        point_range=(0.0, -9.6, -2.0, 19.2, 9.6, 4.0),
        channels=(4, 8, 16, 32, 32, 32),
        head_channels=48,
        selection=replace(published.selection, score_threshold=0.1, centre_range=None),
    )
    model = VoxelKP(config).eval()
    state = {}
    for key, value in model.state_dict().items():
        number = torch.from_numpy(drawn(key, tuple(value.shape)))
        # Residual sums and products of two branches grow: smaller weights, smallest where exp() follows.
        state[key] = number * (0.1 if "tasks.0.size" in key else 0.72) if number.ndim > 1 else number
    model.load_state_dict(state)
    return model


def points() -> PointBatch:
    """Two clouds of unequal size and lowest voxels, no point near a voxel's face."""
    generator = np.random.Generator(np.random.PCG64(11))
    cell = generator.integers(0, [190, 190, 50], (900, 3))
    cell[600:] = 40 + cell[600:] // 2
    xyz = np.array([0.0, -9.6, -2.0]) + (cell + generator.uniform(0.1, 0.9, (900, 3))) * 0.1
    values = np.column_stack([xyz, generator.uniform(0, 1, (900, 2))]).astype(np.float32)
    values = values[(values[:, 2] < 3.9)]
    sample = np.repeat([0, 1], [600, 300])[: len(values)]
    return PointBatch(torch.from_numpy(values), torch.from_numpy(sample), 2)


def answers() -> dict[str, np.ndarray]:
    model, found = build(), {}
    with torch.inference_mode():
        predictions = model(model.voxelise(points()))
        values = torch.cat([model.head.everywhere(predictions.features), predictions.heatmap], 1)
        found["coordinates"] = predictions.features.coordinates.numpy().astype(np.int16)
        found["values"] = values.numpy()[:: max(len(values) // 60, 1)]
        for number, people in enumerate(model.results(predictions)):
            found[f"boxes{number}"] = people.boxes.values[:20].numpy()
            found[f"keypoints{number}"] = people.keypoints[:20].numpy()
            found[f"visibility{number}"] = people.visibility[:20].numpy()
            found[f"scores{number}"] = people.scores[:20].numpy()
    return found


def test_answers_are_the_stored_ones() -> None:
    ours = answers()
    with np.load(FILE) as stored:
        assert set(stored.files) == set(ours)
        for key in stored.files:
            np.testing.assert_allclose(ours[key], stored[key], atol=2e-3, rtol=1e-3, err_msg=key)
        assert len(stored["boxes0"]) > 5
        assert np.ptp(stored["scores0"]) > 0.01


if __name__ == "__main__":
    np.savez_compressed(FILE, **answers())  # type: ignore[arg-type]
