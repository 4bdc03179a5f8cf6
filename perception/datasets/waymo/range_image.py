"""From the range images of the Waymo Open Dataset to points.

Sun et al., CVPR 2020, and the published definition (range_image_utils, v2 components lidar, lidar_calibration,
lidar_pose): a pixel's row is a beam, its column an azimuth, and for the top lidar every pixel has the pose that the
vehicle had when it was measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from perception.datasets.rigid import inverse
from perception.errors import PerceptionError

CHANNELS = 4  # range, intensity, elongation, in a no-label zone
POSE_CHANNELS = 6  # roll, pitch, yaw, x, y, z


@dataclass(frozen=True, eq=False)
class LaserCalibration:
    """``extrinsic`` (4, 4) from the laser's frame to the vehicle's; ``inclinations`` (H,) of the beams in radians,
    lowest first, or None where they lie evenly between ``lowest`` and ``highest``."""

    extrinsic: np.ndarray
    lowest: float
    highest: float
    inclinations: np.ndarray | None = None

    def rows(self, height: int, where: str) -> np.ndarray:
        """The inclination of each row of an image, the topmost first; PerceptionError where they are not known."""
        if self.inclinations is not None:
            if len(self.inclinations) != height:
                raise PerceptionError(
                    f"{where}: {len(self.inclinations)} beam inclinations for a range image of {height} rows",
                    "one for each row",
                    "take calibration and lidar of the same segment",
                )
            return self.inclinations[::-1]
        if not self.lowest < self.highest:
            raise PerceptionError(
                f"{where}: no beam inclinations, and none between {self.lowest} and {self.highest}",
                "values, or min below max, in lidar_calibration",
                "download lidar_calibration again",
            )
        middle = (np.arange(height) + 0.5) / height
        return (self.lowest + middle * (self.highest - self.lowest))[::-1]


@dataclass(frozen=True, eq=False)
class LaserPoints:
    """Points of one return of one laser: ``xyz`` (N, 3) float64 in the vehicle's frame; ``intensity``, ``elongation``
    (N,) float32 as published; ``no_label_zone`` (N,) bool."""

    xyz: np.ndarray
    intensity: np.ndarray
    elongation: np.ndarray
    no_label_zone: np.ndarray


def image_of(values: Any, shape: Any, channels: int, where: str) -> np.ndarray:
    """The image (H, W, channels) float32 of flattened values and their shape."""
    size = [] if shape is None else [int(n) for n in shape]
    if values is None or len(size) != 3 or min(size) < 1 or size[2] != channels or math.prod(size) != len(values):
        found = "no values" if values is None else f"{len(values)} values"
        raise PerceptionError(
            f"{where}: {found} of the shape {size}",
            f"a range image: height, width, {channels} channels",
            "download the segment again",
        )
    return np.asarray(values, np.float32).reshape(size)


def points_of(
    image: np.ndarray,
    calibration: LaserCalibration,
    where: str,
    pixel_pose: np.ndarray | None = None,
    vehicle_pose: np.ndarray | None = None,
) -> LaserPoints:
    """Points of an image (H, W, 4), pixel by pixel from the top left; pixels without an echo have none.

    ``pixel_pose`` (H, W, 6), with the frame's ``vehicle_pose`` (4, 4), undoes the motion during the sweep.
    """
    height, width, _ = image.shape
    row, column = np.nonzero(image[..., 0] > 0)
    distance = image[row, column, 0].astype(np.float64)
    up = calibration.rows(height, where)
    turn = math.atan2(calibration.extrinsic[1, 0], calibration.extrinsic[0, 0])
    # Column 0 looks just short of +180 degrees of the vehicle's azimuth, the last one just past -180 degrees.
    around = np.pi - (np.arange(width) + 0.5) * (2 * np.pi / width) - turn
    flat = distance * np.cos(up)[row]
    xyz = np.stack([flat * np.cos(around)[column], flat * np.sin(around)[column], distance * np.sin(up)[row]], axis=1)
    xyz = xyz @ calibration.extrinsic[:3, :3].T + calibration.extrinsic[:3, 3]
    if pixel_pose is not None and vehicle_pose is not None:
        if pixel_pose.shape[:2] != (height, width):
            raise PerceptionError(
                f"{where}: poses of {pixel_pose.shape[:2]} pixels for an image of {(height, width)}", "one a pixel"
            )
        back = inverse(vehicle_pose)
        xyz = _to_world(xyz, pixel_pose[row, column].astype(np.float64)) @ back[:3, :3].T + back[:3, 3]
    finite = np.isfinite(xyz).all(1)
    row, column, xyz = row[finite], column[finite], xyz[finite]
    # The published flag is 1 inside a zone and -1 or 0 outside.
    return LaserPoints(xyz, image[row, column, 1], image[row, column, 2], image[row, column, 3] > 0)


def _to_world(xyz: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Points (N, 3) turned about x by roll, then y by pitch, then z by yaw, and moved: each by its own pose (N, 6)."""
    x, y, z = xyz.T
    for angle, axis in ((pose[:, 0], 0), (pose[:, 1], 1), (pose[:, 2], 2)):
        cos, sin = np.cos(angle), np.sin(angle)
        if axis == 0:
            y, z = cos * y - sin * z, sin * y + cos * z
        elif axis == 1:
            x, z = cos * x + sin * z, cos * z - sin * x
        else:
            x, y = cos * x - sin * y, sin * x + cos * y
    return np.stack([x, y, z], axis=1) + pose[:, 3:]
