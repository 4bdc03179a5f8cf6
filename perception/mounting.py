"""A scan from a sensor at another height than the one a model learned from: found from the ground, and set right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from perception.boxes import Boxes3D
from perception.ground import estimate_ground
from perception.models.detector import Detector
from perception.points import PointCloud
from perception.results import Detections, Skeletons

REACH = 25.0
"""Metres around the sensor in which the ground counts: further off a slope would tell a height that is not there."""
NEAR_GROUND = 0.2
FEWEST = 200
Found = TypeVar("Found", Detections, Skeletons)
TOLERANCE = 0.4
"""Metres: kerbs, slopes and ordinary mounts differ by so much, and models are trained to bear it."""


@dataclass(frozen=True)
class Mounting:
    """``lift`` metres that take a cloud to the height at which a model knows the ground; 0 where it is there."""

    lift: float = 0.0

    def cloud(self, cloud: PointCloud) -> PointCloud:
        """The cloud as the model knows it."""
        return cloud if not self.lift else cloud.with_xyz(cloud.xyz + np.array([0, 0, self.lift], np.float32))

    def results(self, found: Found) -> Found:
        """Boxes or people found in such a cloud, where they are in the given one."""
        return self.skeletons(found) if isinstance(found, Skeletons) else self.detections(found)

    def detections(self, found: Detections) -> Detections:
        """Boxes found in such a cloud, where they are in the given one."""
        return found if not self.lift else replace(found, boxes=self._boxes(found.boxes))

    def skeletons(self, found: Skeletons) -> Skeletons:
        """People found in such a cloud, where they are in the given one."""
        if not self.lift:
            return found
        keypoints = found.keypoints.clone()
        keypoints[..., 2] -= self.lift
        return replace(found, boxes=self._boxes(found.boxes), keypoints=keypoints)

    def _boxes(self, boxes: Boxes3D) -> Boxes3D:
        values = boxes.values.clone()
        values[:, 2] -= self.lift
        return replace(boxes, values=values)


AS_IT_IS = Mounting()


def ground_level(cloud: PointCloud) -> float | None:
    """Height of the ground around the sensor, which stands at x = y = 0; None where too little of it is seen."""
    xyz = cloud.xyz[np.hypot(cloud.xyz[:, 0], cloud.xyz[:, 1]) < REACH]
    if len(xyz) < FEWEST:
        return None
    ground = estimate_ground(xyz).at(xyz[:, :2])
    on_it = np.abs(xyz[:, 2] - ground) < NEAR_GROUND
    return float(np.median(ground[on_it])) if on_it.sum() >= FEWEST else None


def mounting_of(cloud: PointCloud, model: Detector, tolerance: float = TOLERANCE) -> Mounting:
    """What takes the cloud to the model's height; nothing where the ground is within ``tolerance`` of it, or unseen."""
    return lifted(ground_level(cloud), model, tolerance)


def lifted(level: float | None, model: Detector, tolerance: float = TOLERANCE) -> Mounting:
    """``mounting_of`` a cloud whose ground lies at ``level``."""
    if level is None or abs(model.ground_height - level) <= tolerance:
        return AS_IT_IS
    return Mounting(model.ground_height - level)
