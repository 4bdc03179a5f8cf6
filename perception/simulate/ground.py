"""The ground of a street: slope, gentle waves, raised pavements, lane markings; and where rays meet it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from perception.simulate.sensor import Lidar, Rays


class Surface(Protocol):
    """What ray casting asks of a ground, in the sensor's frame."""

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray: ...

    def reflectance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Ground:
    """Heights in the sensor's frame.

    The street runs along ``heading`` radians; its axis passes the sensor at ``axis`` metres to the left of it.
    ``road`` and ``cross_road`` are half widths in metres (the second street crosses at ``crossing`` metres ahead; half
    width 0 for none); ``kerb`` is the height of the pavements; ``waves`` (W, 4) hold amplitude, wave numbers along x
    and y in 1/m, and phase.
    """

    level: float
    slope: tuple[float, float]
    waves: np.ndarray
    heading: float
    axis: float
    road: float
    kerb: float
    crossing: float = 0.0
    cross_road: float = 0.0
    verge: float = 3.0

    def to_street(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Metres along the street and to the left of its axis."""
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        return x * cos + y * sin, y * cos - x * sin - self.axis

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Height in metres of the ground at positions of equal shape."""
        z = self.level + self.slope[0] * x + self.slope[1] * y
        for amplitude, kx, ky, phase in self.waves:
            z = z + amplitude * (np.sin(kx * x + ky * y + phase) - np.sin(phase))
        return z + self.kerb * np.clip(self.off_road(x, y) / 0.1, 0, 1)

    def off_road(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Metres beyond the nearer kerb, negative on the road."""
        along, across = self.to_street(x, y)
        beyond = np.abs(across) - self.road
        if self.cross_road:
            beyond = np.minimum(beyond, np.abs(along - self.crossing) - self.cross_road)
        return beyond

    def reflectance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Asphalt, brighter pavement and grass, white lines."""
        along, across = self.to_street(x, y)
        beyond = self.off_road(x, y)
        value = np.where(beyond < 0, 0.24, np.where(beyond < self.verge, 0.30, 0.38))
        line = (np.abs(across) < 0.07) & (along % 9 < 4.5) | (np.abs(beyond + 0.25) < 0.06)
        return np.where(line & (beyond < 0), 0.55, value)


def cast_ground(ground: Surface, rays: Rays, lidar: Lidar) -> np.ndarray:
    """Distance (beams, columns) at which each ray meets the ground, inf where it does not within the reach.

    Along one azimuth the ground is a profile of heights over ranges; a beam meets it at the first range where the
    profile, seen from the sensor, rises to the beam's slope. Between samples slope is linear in 1 / range, which is
    exact on flat ground.
    """
    ranges = _profile_ranges(min(2.0, lidar.reach / 2), lidar.reach)
    x, y = np.cos(rays.azimuth)[:, None] * ranges, np.sin(rays.azimuth)[:, None] * ranges
    profile = (ground.height(x, y) / ranges).astype(np.float32)
    highest = np.maximum.accumulate(profile, 1)
    distance = np.full(rays.directions.shape[:2], np.inf, np.float32)
    columns = np.arange(len(rays.azimuth))
    for beam in range(len(rays.slope)):
        direction = rays.directions[beam]
        planar = np.hypot(direction[:, 0], direction[:, 1])
        slope = direction[:, 2] / planar
        after = (highest < slope[:, None]).sum(1)
        met = columns[(after > 0) & (after < len(ranges))]
        i = after[met]
        low, high = highest[met, i - 1], highest[met, i]
        share = (slope[met] - low) / np.maximum(high - low, 1e-9)
        distance[beam, met] = 1 / ((1 - share) / ranges[i - 1] + share / ranges[i]) / planar[met]
    return distance


def _profile_ranges(near: float, far: float) -> np.ndarray:
    """Ranges dense near the sensor and never more than 2.5 m apart, ascending."""
    return np.union1d(np.geomspace(near, far, 150), np.arange(near, far, 2.5))
