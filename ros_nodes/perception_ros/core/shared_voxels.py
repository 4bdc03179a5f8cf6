"""Several models on one cloud: those that voxelise alike share the voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch

from perception.models.model import Model
from perception.points import PointCloud
from perception.sparse import DynamicVoxels, HardVoxels

# What a configuration says about points and voxels; the rest is about layers.
SETTINGS = ("point_fields", "point_range", "voxel_size", "max_points", "max_voxels")


class VoxelCache:
    """The voxels of one cloud by the group of models that they are for and by how far the cloud was lifted for them;
    ``made`` counts how often it was voxelised."""

    def __init__(self) -> None:
        self._voxels: dict[tuple[int, float], Any] = {}
        self.made = 0

    def voxels(self, model: Model, group: int, cloud: PointCloud, lift: float = 0.0) -> Any:
        if (group, lift) not in self._voxels:
            self._voxels[group, lift] = model.voxelise(model.points([cloud]))
            self.made += 1
        return self._voxels[group, lift]


@torch.inference_mode()
def perceive_shared(
    model: Model, group: int, cloud: PointCloud, cache: VoxelCache, lift: float = 0.0
) -> tuple[Any, Any]:
    """The result of one cloud, as ``perception.perceive`` has it, and the voxels that it was found in."""
    voxels = cache.voxels(model, group, cloud, lift)
    return model.results(model(voxels))[0], voxels


@torch.inference_mode()
def voxel_groups(models: Sequence[Model]) -> list[int]:
    """A number for each model, the same for models whose voxels of any cloud are the same.

    They must agree in every setting of ``SETTINGS``, live on one device, and make equal voxels of a cloud that fills
    the range and meets every cap. Models whose voxels are of a type of their own share with none.
    """
    groups: list[int] = []
    for number, model in enumerate(models):
        alike = (groups[i] for i in range(number) if _alike(models[i], model))
        groups.append(next(alike, number))
    return groups


def clipped_of(voxels: Any) -> int:
    """Points beyond a cap on points a voxel or voxels a cloud."""
    inner = getattr(voxels, "hard", voxels)
    return int(getattr(inner, "clipped", 0))


def _alike(first: Model, second: Model) -> bool:
    settings = [[getattr(m.config, name, None) for name in SETTINGS] for m in (first, second)]
    if settings[0] != settings[1] or settings[0][1] is None or first.device != second.device:
        return False
    if type(first).points is not type(second).points:
        return False
    cloud = _probe(first)
    made = [model.voxelise(model.points([cloud])) for model in (first, second)]
    if type(made[0]) is not type(made[1]) or type(made[0]) not in (HardVoxels, DynamicVoxels):
        return False
    assert is_dataclass(made[0])
    return all(_equal(getattr(made[0], f.name), getattr(made[1], f.name)) for f in fields(made[0]))


def _equal(first: Any, second: Any) -> bool:
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else bool(first == second)


def _probe(model: Model) -> PointCloud:
    low, high = np.array(model.config.point_range, np.float32).reshape(2, 3)
    generator = np.random.default_rng(0)
    spread = generator.random((20_000, 3), dtype=np.float32)
    dense = generator.random((2_000, 3), dtype=np.float32) * 0.01
    xyz = low + (high - low) * np.concatenate([spread, dense])
    names = getattr(model.config, "point_fields", ())
    return PointCloud(xyz, {name: generator.random(len(xyz), dtype=np.float32) for name in names})
