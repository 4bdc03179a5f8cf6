"""The ground of an Argoverse 2 log: its raster of heights, in the city's frame, and which points it calls ground.

Wilson et al. 2021, section 3.3, and av2-api's ``GroundHeightLayer``: float16 heights every 0.3 m.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perception.errors import PerceptionError

NEAR_GROUND = 0.3
_LARGEST = 512 << 20


@dataclass(frozen=True, eq=False)
class HeightMap:
    """``heights`` (rows, columns) float32, NaN where unknown; a city point p lies in column, row
    ``scale * (rotation @ p + shift)``, rounded towards zero."""

    heights: np.ndarray
    rotation: np.ndarray
    shift: np.ndarray
    scale: float

    def at(self, xy: np.ndarray) -> np.ndarray:
        """Height of the ground (N,) float64 at city positions (N, 2 or 3), NaN where the map does not tell."""
        places = self.scale * (np.asarray(xy, np.float64)[:, :2] @ self.rotation.T + self.shift)
        column, row = places.astype(np.int64).T
        rows, columns = self.heights.shape
        known = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        found = np.full(len(places), np.nan)
        found[known] = self.heights[row[known], column[known]]
        return found

    def is_ground(self, points: np.ndarray) -> np.ndarray:
        """(N,) bool for city points (N, 3): at most 0.3 m above the ground, or anywhere beneath it."""
        height = self.at(points)
        with np.errstate(invalid="ignore"):
            return (np.abs(points[:, 2] - height) <= NEAR_GROUND) | (points[:, 2] < height)


def read_height_map(log: str | Path) -> HeightMap | None:
    """The height map in a log's folder, None where there is none; PerceptionError where it is damaged."""
    folder = Path(log) / "map"
    rasters, placements = (
        sorted(folder.glob(f"*{end}")) for end in ("_ground_height_surface____*.npy", "_Sim2_city.json")
    )
    if not rasters or not placements:
        return None
    try:
        if rasters[0].stat().st_size > _LARGEST or placements[0].stat().st_size > 1 << 20:
            raise ValueError("too large")
        heights = np.load(rasters[0], allow_pickle=False)
        placement = json.loads(placements[0].read_text())
        rotation = np.array(placement["R"], np.float64).reshape(2, 2)
        shift, scale = np.array(placement["t"], np.float64).reshape(2), float(placement["s"])
        if heights.ndim != 2 or heights.dtype.kind != "f" or not np.isfinite([*rotation.flat, *shift, scale]).all():
            raise ValueError("no raster of heights")
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise PerceptionError(
            f"the ground heights in {folder} cannot be read: {error}",
            "a raster of heights and its place in the city, as published",
            "download the map again",
        ) from None
    return HeightMap(heights.astype(np.float32), rotation, shift, scale)
