"""Spinning lidars as tables of beams, and the grid of rays of one revolution."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from perception.errors import PerceptionError, nearest


@dataclass(frozen=True)
class Lidar:
    """A spinning lidar.

    ``elevations`` in degrees, highest beam first; ``azimuth_step`` and ``sector`` (the horizontal field of view,
    centred on +x) in degrees; ``height`` above the ground, ``reach`` and ``noise`` (one sigma of the range) in metres;
    ``dropout`` is the share of near returns that get lost, ``fading`` how steeply it grows to the end of the reach.
    """

    elevations: tuple[float, ...]
    azimuth_step: float = 0.173
    sector: float = 360.0
    height: float = 1.73
    reach: float = 80.0
    noise: float = 0.02
    dropout: float = 0.03
    fading: float = 1.6

    def __post_init__(self) -> None:
        if not self.elevations or any(b >= a for a, b in zip(self.elevations, self.elevations[1:])):
            raise PerceptionError("beam elevations that do not fall from first to last", "degrees, highest beam first")
        if self.azimuth_step <= 0 or not 0 < self.sector <= 360 or self.height <= 0 or self.reach <= 0:
            raise PerceptionError(
                f"lidar step {self.azimuth_step}, sector {self.sector}, height {self.height}, reach {self.reach}",
                "positive values and a sector of at most 360 degrees",
            )

    def facing(self, sector: float) -> Lidar:
        """The same lidar seeing only a sector of ``sector`` degrees about +x, as the crop to a camera's view does."""
        return replace(self, sector=sector)


# Velodyne HDL-64E user's manual: an upper block of 32 lasers a third of a degree apart, a lower one half a degree.
# It reaches 120 m, but the scans of KITTI end at 80 m.
HDL64 = Lidar(tuple(2.0 - i / 3 for i in range(32)) + tuple(-8.83 - i / 2 for i in range(32)))

# Velodyne HDL-32E user's manual: 32 lasers from +10.67 down to -30.67 degrees, four thirds of a degree apart, 70 m.
HDL32 = Lidar(tuple(10.67 - i * 4 / 3 for i in range(32)), azimuth_step=0.332, height=1.84, reach=70.0)

# Waymo Open Dataset (Sun et al. 2020, table 2): the top lidar sees from -17.6 to +2.4 degrees, 75 m far, in range
# images of 64 rows and 2650 columns; its rows stand closer near the horizon. Steps from 0.2
# to 0.435 degrees have that sum.
WAYMO_TOP = Lidar(
    tuple(2.4 - 0.2 * i - (0.435 - 0.2) / 62 * i * (i - 1) / 2 for i in range(64)),
    azimuth_step=360 / 2650, height=2.18, reach=75.0,
)  # fmt: skip

# Ouster OS1-128 data sheet: 128 beams evenly over 45 degrees, 1024 columns at 10 Hz, 120 m for bright targets.
OS1_128 = Lidar(tuple(22.5 - i * 45 / 127 for i in range(128)), azimuth_step=360 / 1024, height=1.8, reach=120.0)

SENSORS = {"hdl64": HDL64, "hdl32": HDL32, "waymo_top": WAYMO_TOP, "os1_128": OS1_128}


def sensor_named(name: str) -> Lidar:
    """The lidar of a name, or an error with the nearest one."""
    if name not in SENSORS:
        raise PerceptionError(f"no lidar is called {name!r}", "a lidar of the table", nearest(name, SENSORS))
    return SENSORS[name]


KITTI_CAMERA_SECTOR = 81.2
"""Horizontal field of view in degrees of KITTI's colour camera 2: 2 atan(1242 / 2 / 721)."""


@dataclass(frozen=True, eq=False)
class Rays:
    """Unit directions (beams, columns, 3) float32 of one revolution, with the tables that select windows of them.

    ``azimuth`` (columns,) radians and ``slope`` (beams,), tangent of the elevation and falling, are nominal; the
    directions differ from them by less than ``slack`` radians.
    """

    directions: np.ndarray
    azimuth: np.ndarray
    slope: np.ndarray
    slack: float


def revolution(lidar: Lidar, rng: np.random.Generator) -> Rays:
    """The rays of one turn, with the small angle errors that each laser of a real unit has."""
    step = np.radians(lidar.azimuth_step)
    half = np.radians(lidar.sector) / 2
    count = int(2 * half / step)
    azimuth = -half + (np.arange(count) + 0.5) * step
    elevation = np.radians(np.array(lidar.elevations))
    beams = len(elevation)
    elevation_error = np.radians(0.04) * (2 * rng.random(beams) - 1)
    azimuth_error = step * (rng.random(beams) - 0.5)
    e = (elevation + elevation_error)[:, None]
    a = azimuth[None, :] + azimuth_error[:, None]
    z = np.broadcast_to(np.sin(e), a.shape)
    directions = np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), z], -1).astype(np.float32)
    return Rays(directions, azimuth, np.tan(elevation), float(step + np.radians(0.05)))
