"""The height of the ground beneath a cloud: a grid of heights that buildings, vehicles and trees do not lift.

Progressive morphological filtering (Zhang et al., IEEE TGRS 41(4), 2003) of the lowest points of each cell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from perception.errors import PerceptionError

LOWEST_SHARE = 0.05  # of a cell's points lie below its height: stray points beneath the ground do not count
MOST_CELLS = 16_000_000


@dataclass(frozen=True, eq=False)
class Ground:
    """``heights`` (rows, columns) float64 at the centres of square cells of ``cell`` metres; ``corner`` x y of the
    grid's lowest corner, in the frame of the cloud."""

    heights: np.ndarray
    corner: tuple[float, float]
    cell: float

    def at(self, xy: np.ndarray) -> np.ndarray:
        """Height of the ground at each x y (N, 2), between the cells bilinear, beyond them that of the border."""
        place = (np.asarray(xy, np.float64) - self.corner) / self.cell - 0.5
        rows = place[:, [1, 0]].T
        found: np.ndarray = ndimage.map_coordinates(self.heights, rows, order=1, mode="nearest")
        return found


def estimate_ground(
    xyz: np.ndarray, cell: float = 1.0, largest_object: float = 40.0, slope: float = 0.3, step: float = 0.3
) -> Ground:
    """The ground beneath points (N, 3).

    ``largest_object`` metres: the width of the widest roof that must not pass for ground. ``slope``: the steepest
    terrain, as rise over run. ``step`` metres: what may rise above the ground within a cell and still be ground.
    Without points the ground is flat at height 0.
    """
    if not len(xyz):
        return Ground(np.zeros((1, 1)), (0.0, 0.0), cell)
    if not np.isfinite(xyz).all():
        raise PerceptionError("points that are not finite", "finite coordinates", "drop them, as read_points does")
    low, high = xyz[:, :2].min(0).astype(np.float64), xyz[:, :2].max(0).astype(np.float64)
    low = np.floor(low / cell) * cell  # cells do not depend on where the cloud happens to begin
    shape = np.floor((high - low) / cell).astype(np.int64) + 1
    while shape.prod() > MOST_CELLS:
        cell *= 2
        low = np.floor(low / cell) * cell
        shape = np.floor((high - low) / cell).astype(np.int64) + 1
    lowest = _lowest(xyz, low, cell, (int(shape[1]), int(shape[0])))
    known = np.isfinite(lowest)
    heights = _filled(lowest, known)
    around = ndimage.median_filter(heights, size=5, mode="nearest")
    known &= heights > around - 2 * step - 2 * slope * cell  # an opening would spread a pit of stray points
    heights = _filled(lowest, known) if known.any() else heights
    ground = _without_objects(heights, known, cell, largest_object, slope, step)
    return Ground(ground, (float(low[0]), float(low[1])), cell)


def _lowest(xyz: np.ndarray, low: np.ndarray, cell: float, shape: tuple[int, int]) -> np.ndarray:
    """A low quantile of the heights in each cell, NaN in empty ones."""
    column, row = np.floor((xyz[:, :2] - low) / cell).astype(np.int64).T
    key = row * shape[1] + column
    order = np.lexsort((xyz[:, 2], key))
    ordered = key[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counts = np.diff(np.append(starts, len(ordered)))
    heights = np.full(shape[0] * shape[1], np.nan)
    heights[ordered[starts]] = xyz[order[starts + (counts * LOWEST_SHARE).astype(np.int64)], 2]
    return heights.reshape(shape)


def _filled(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Unknown cells take the value of the nearest known one."""
    if known.all():
        return values
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    filled: np.ndarray = values[tuple(nearest)]
    return filled


def _without_objects(
    heights: np.ndarray, known: np.ndarray, cell: float, largest: float, slope: float, step: float
) -> np.ndarray:
    """Openings with growing windows: what each takes away beyond the slope's due stands on the ground, not in it."""
    ground, surface = known.copy(), heights
    reach, before = 1, 0
    while True:
        window = 2 * reach + 1
        opened = ndimage.grey_opening(surface, size=(window, window), mode="nearest")
        ground &= surface - opened <= step + slope * (window - 1 - before) * cell / 2
        surface, before = opened, window - 1
        if window * cell > largest:
            break
        reach = math.ceil(reach * 1.6)
    if not ground.any():
        return surface
    smooth = _filled(np.where(ground, heights, np.nan), ground)
    result: np.ndarray = ndimage.median_filter(smooth, size=3, mode="nearest")
    return result
