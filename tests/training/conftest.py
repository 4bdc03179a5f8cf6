"""A detector so small that a step takes a moment, on generated streets."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def tiny() -> dict[str, Any]:
    """Plain values of an experiment: 16 x 16 m, two classes' worth of work."""
    return {
        "model": "pointpillars-small",
        "overrides": {
            "point_range": [0.0, -12.8, -3.0, 25.6, 12.8, 1.0],
            "voxel_size": [0.4, 0.4, 4.0],
            "encoder_channels": 8,
            "layers": [0, 0, 0],
            "filters": [8, 8, 8],
            "up_filters": [8, 8, 8],
        },
        "data": {"train": [{"name": "street", "options": {"length": 6}}]},
        "training": {"epochs": 3, "batch_size": 2, "workers": 0, "threads": 1, "learning_rate": 0.003},
    }
