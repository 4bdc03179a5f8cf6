"""Small detectors with random weights, their clouds, and their exports."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from perception.io.weights import Card, WeightsHeader
from perception.models.catalogue import MODELS
from perception.points import PointCloud

# Of a cheap width: everything about the operators stays, little of the time.
NARROW_MAP = {"layers": (1, 1), "strides": (1, 2), "filters": (16, 32), "up_strides": (1, 2), "up_filters": (16, 16)}
KITTI = {"point_range": (0.0, -8.0, -3.0, 16.0, 8.0, 1.0)}
WAYMO = {"point_range": (0.0, -8.0, -2.0, 16.0, 8.0, 4.0), **NARROW_MAP}
NUSCENES = {"point_range": (0.0, -9.6, -5.0, 19.2, 9.6, 3.0), **NARROW_MAP}
SMALL: dict[str, dict[str, Any]] = {
    "pointpillars": {"point_range": (0.0, -10.24, -3.0, 20.48, 10.24, 1.0), **NARROW_MAP},
    "pointpillars-small": {**KITTI, **NARROW_MAP},
    "second": {**KITTI, **NARROW_MAP},
    "centerpoint": NUSCENES,
    "centerpoint-nuscenes-pillars": NUSCENES | {"up_strides": (0.5, 1)},
    "centerpoint-waymo-plain": WAYMO,
    "centerpoint-waymo-pillars": {**WAYMO, "point_range": (0.0, -10.24, -2.0, 20.48, 10.24, 4.0)},
    "centerpoint-small": {**KITTI, **NARROW_MAP},
    "focals-centerpoint": NUSCENES,
    "focals-centerpoint-waymo": WAYMO,
    "dsvt-pillar": {
        "point_range": (0.0, -8.32, -2.0, 16.64, 8.32, 4.0),
        "channels": 32,
        "feedforward": 32,
        **NARROW_MAP,
    },
}


def build(name: str) -> tuple[Any, WeightsHeader]:
    torch.manual_seed(1)
    chosen = MODELS[name]
    model = chosen.make(replace(chosen.defaults, **SMALL[name])).eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean, 0, 0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.normal_(module.bias, 0, 0.1)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias, -1, 0.5)
    if name == "centerpoint-small":  # of occupied slices a random network makes peaks that differ by rounding alone
        model.head.tasks[0]["heatmap"][3].weight.data.mul_(10)
    return model, WeightsHeader(name, {}, model.classes, Card("nothing", "Apache-2.0"))


def cloud(count: int, seed: int = 0) -> PointCloud:
    generator = np.random.default_rng(seed)
    xyz = generator.uniform([0, -9, -2], [15, 9, 0], (count, 3))
    names = ("intensity", "elongation", "time")
    return PointCloud(xyz, {name: generator.uniform(0, 1, count).astype(np.float32) for name in names})


def clouds() -> list[PointCloud]:
    """A full one first, then every kind of nearly empty one."""
    return [cloud(3000), cloud(700, seed=5), cloud(2), cloud(1), cloud(0)]
