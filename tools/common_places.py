"""Places of which recordings are at hand: scans that are some metres or moments apart."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perception.io.clouds import read_points
from perception.points import PointCloud


@dataclass(frozen=True)
class Place:
    """``files`` are patterns below the folder of recordings; scans of one place, or of many with one each."""

    name: str
    files: tuple[str, ...]

    def there(self, root: Path) -> bool:
        return any(any(root.glob(pattern)) for pattern in self.files)


REAL_PLACES = (
    Place("KITTI odometry 00", ("kitti_odometry/00/velodyne/*.bin",)),
    Place("Apollo", ("places/apollo_*.pcd",)),
    Place("KITTI drive 1", ("kitti_raw/**/velodyne_points/data/*.bin",)),
    Place("Argoverse 2", ("argoverse2/sensor_val/**/lidar/*.feather",)),
    Place("NCLT", ("places/nclt_*.bin",)),
    Place("nuScenes", ("nuscenes/*LIDAR_TOP*.bin",)),
    *(Place(f"KITTI object {n}", (f"kitti_object/training/velodyne/00000{n}.bin",)) for n in range(5)),
)


def scans_of(place: Place, root: Path) -> Iterator[tuple[Path, PointCloud]]:
    """Files of a place and their clouds, in order."""
    for pattern in place.files:
        for file in sorted(root.glob(pattern)):
            yield file, read_points(file)


def turned(cloud: PointCloud, angle: float) -> PointCloud:
    """A cloud turned about z."""
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return cloud.with_xyz((cloud.xyz.astype(np.float64) @ turn.T).astype(np.float32))
