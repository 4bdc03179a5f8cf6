"""A small detector with random weights, so that commands are tested without waiting for a large one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from perception.heads.selection import Selection
from perception.io.weights import Card, save_weights
from perception.models.catalogue import MODELS


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    entry = MODELS["pointpillars-small"]
    config = replace(
        entry.defaults,
        point_range=(0.0, -8.0, -3.0, 16.0, 8.0, 1.0),
        selection=Selection(score_threshold=0.001, candidates=50, nms_overlap=0.01, maximum=5),
    )
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, "pointpillars-small", entry.make(config), Card(trained_on="nothing", licence="Apache-2.0"))
    return path


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A KITTI scan of 500 random points."""
    return write_scan(tmp_path / "scan.bin")


def write_scan(path: Path, seed: int = 0) -> Path:
    generator = np.random.default_rng(seed)
    points = generator.uniform([0, -8, -2, 0], [16, 8, 0, 1], (500, 4)).astype("<f4")
    points.tofile(path)
    return path
