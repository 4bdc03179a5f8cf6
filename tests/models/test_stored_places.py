"""Descriptors of HOTFormerLoc's published code, for weights and points drawn here: a public checkout proves parity.

The stored numbers come from the official modules at commit 8e78b2d with ocnn 2.2.2 on a CPU, under these very weights
in their names and layouts, two clouds in one batch.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from perception.backbones.octree_input import OctreeCloud, octree_cloud
from perception.models.catalogue import MODELS
from perception.models.hotformerloc import HOTFormerLoc
from perception.points import PointBatch

STORED = Path(__file__).resolve().parents[1] / "golden" / "hotformerloc.npz"
NAMES = sorted(name for name in MODELS if name.startswith("hotformerloc"))


def drawn(key: str, shape: tuple[int, ...]) -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")))
    if len(shape) == 1:
        near = 1.0 if "norm" in key and key.endswith("weight") else 0.0
        return (near + 0.1 * generator.standard_normal(shape)).astype(np.float32)
    fan = {5: 6 * shape[-1], 4: 6}.get(len(shape), shape[-1])
    scale = 0.5 if key.endswith("table") else 1.0 if key.endswith("query") else (2 / fan) ** 0.5
    return (scale * generator.standard_normal(shape)).astype(np.float32)


def build(name: str) -> HOTFormerLoc:
    model = MODELS[name].make(MODELS[name].defaults).eval()
    assert isinstance(model, HOTFormerLoc)
    state = {key: torch.from_numpy(drawn(key, tuple(value.shape))) for key, value in model.state_dict().items()}
    model.load_state_dict(state)
    return model


def points(depth: int) -> PointBatch:
    """Two clouds in [-1, 1], as the octree takes them; none is near a face of its cell."""
    generator = np.random.Generator(np.random.PCG64(7))
    centres = generator.uniform(0.15, 0.85, (40, 3))
    near = centres[generator.integers(0, 40, 1300)] + generator.normal(0, 0.04, (1300, 3))
    cells = np.clip(near * 2**depth, 0, 2**depth - 1).astype(np.int64) + generator.uniform(0.1, 0.9, (1300, 3))
    xyz = (cells / 2 ** (depth - 1) - 1).astype(np.float32)
    return PointBatch(torch.from_numpy(xyz), torch.from_numpy(np.arange(1300) // 700), 2)


def octree(model: HOTFormerLoc) -> OctreeCloud:
    return octree_cloud(points(model.config.depth), model.config.depth, model.top, model.config.border)


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_equal_to_the_stored_descriptors(name: str) -> None:
    model = build(name)
    found, stored = model(octree(model)).numpy(), np.load(STORED)[name]
    assert np.abs(found - stored).max() < 1e-5
    assert np.abs(stored[0] - stored[1]).max() > 0.05
