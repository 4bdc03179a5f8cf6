"""What heads that answer with boxes share: the model, and the height at which the sensor is mounted."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np

from perception.models.detector import Detector
from perception.mounting import AS_IT_IS, Mounting, ground_level, lifted
from perception.points import PointCloud
from perception_ros.core.motion import Motion
from perception_ros.core.settings import Settings
from perception_ros.core.shared_voxels import VoxelCache, clipped_of, perceive_shared
from perception_ros.tasks.task import Task

LOOKED_AT = 3
"""Clouds with ground in them after which the height is settled: looking for ground takes some 50 ms a cloud."""


class BoxTask(Task):
    """A task whose ``model`` is a detector or a model of keypoints."""

    model: Detector

    def __init__(self, settings: Settings, motion: Motion | None = None) -> None:
        super().__init__(settings, motion)
        self.levels: list[float] = []

    def warm(self) -> None:
        for points in (0, 2000):
            perceive_shared(self.model, 0, random_cloud(self.model, points), VoxelCache())

    def seen(self, cloud: PointCloud, cache: VoxelCache) -> Any:
        """What the model finds in the cloud above the score that the settings have, in the cloud's own frame."""
        mounting = self._mounting(cloud)
        found, voxels = perceive_shared(self.model, self.group, mounting.cloud(cloud), cache, mounting.lift)
        self.facts["points clipped by voxel caps"] = str(clipped_of(voxels))
        found, limit = mounting.results(found.cpu()), self.settings["score_threshold"]
        return found.select(found.scores > limit) if limit > 0 else found

    def _mounting(self, cloud: PointCloud) -> Mounting:
        """By the ground of the first clouds that show any: the middle one of their heights."""
        if self.settings["height"] == "keep":
            return AS_IT_IS
        if len(self.levels) < LOOKED_AT and (level := ground_level(cloud)) is not None:
            self.levels.append(level)
        mounting = lifted(median(self.levels) if self.levels else None, self.model)
        self.facts["clouds moved up, metres"] = f"{mounting.lift:.2f}"
        return mounting


def random_cloud(model: Any, points: int) -> PointCloud:
    """Points all over a model's range, with the fields that it reads."""
    low, high = np.array(model.config.point_range, np.float32).reshape(2, 3)
    generator = np.random.default_rng(0)
    xyz = low + (high - low) * generator.random((points, 3), dtype=np.float32)
    names = getattr(model.config, "point_fields", ())
    return PointCloud(xyz, {name: np.zeros(points, np.float32) for name in names})
