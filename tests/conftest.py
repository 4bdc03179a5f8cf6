"""Where the tests find real recordings and golden tensors: beside the project, or where the environment says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _folder(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing; set {variable} to the folder that holds it")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings (KITTI, nuScenes, LAS, ...)."""
    return _folder("LIDAR_DATA", SHARED / "data")


@pytest.fixture(scope="session")
def shared_golden() -> Path:
    """Inputs and outputs of the official models and evaluators."""
    return _folder("LIDAR_GOLDEN", SHARED / "golden")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
