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
PIT_WINDOW = 7  # cells


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
    lowest = lowest_of_cells(xyz, low, cell, (int(shape[1]), int(shape[0])))
    return ground_beneath(lowest, (float(low[0]), float(low[1])), cell, largest_object, slope, step)


def ground_beneath(
    lowest: np.ndarray,
    corner: tuple[float, float],
    cell: float = 1.0,
    largest_object: float = 40.0,
    slope: float = 0.3,
    step: float = 0.3,
) -> Ground:
    """The same from the lowest heights of cells (rows, columns), NaN where there are none, from ``corner`` x y on."""
    known = np.isfinite(lowest)
    if not known.any():
        return Ground(np.zeros_like(lowest), corner, cell)
    known = known & ~_pits(_filled(lowest, known), known, cell, slope, step)
    heights = _filled(np.where(known, lowest, np.nan), known)
    return Ground(_without_objects(heights, known, cell, largest_object, slope, step), corner, cell)


def _pits(heights: np.ndarray, known: np.ndarray, cell: float, slope: float, step: float) -> np.ndarray:
    """Cells far below all but two around them: stray points, which an opening would spread between one another.

    Under a dense crown the ground is seen in few cells, far below most others: those are no pits.
    """
    ordinary = ndimage.rank_filter(
        np.where(known, heights, np.inf), rank=2, size=PIT_WINDOW, mode="constant", cval=np.inf
    )
    pits = heights < ordinary - 2 * step - slope * PIT_WINDOW * cell
    lonely = np.isinf(ordinary)  # with no two others there is nothing to tell a pit by
    return np.asarray(known & pits & ~lonely)


def lowest_of_cells(xyz: np.ndarray, low: np.ndarray, cell: float, shape: tuple[int, int]) -> np.ndarray:
    """A low quantile of the heights in each cell of a grid that begins at ``low`` x y, NaN in empty ones."""
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


def _opened(heights: np.ndarray, known: np.ndarray, window: int) -> np.ndarray:
    """Grey opening with squares about known cells; unknown cells keep what they have.

    A square about a place outside of the plot would see but a sliver of it.
    """
    low = ndimage.minimum_filter(np.where(known, heights, np.inf), window, mode="constant", cval=np.inf)
    high = ndimage.maximum_filter(np.where(known, low, -np.inf), window, mode="constant", cval=-np.inf)
    return np.where(known, high, heights)


def _without_objects(
    heights: np.ndarray, known: np.ndarray, cell: float, largest: float, slope: float, step: float
) -> np.ndarray:
    """Openings with growing windows: what each takes away beyond the slope's due stands on the ground, not in it.

    Unknown cells take no part: a crown at the edge of a plot, spread outwards, would be too wide to go.
    """
    ground, surface = known.copy(), heights
    reach, before = 1, 0
    while True:
        window = 2 * reach + 1
        opened = _opened(surface, known, window)
        ground &= surface - opened <= step + slope * (window - 1 - before) * cell / 2
        surface, before = opened, window - 1
        if window * cell > largest:
            break
        reach = math.ceil(reach * 1.6)
    if not ground.any():
        return surface
    smooth = _filled(np.where(ground, heights, np.nan), ground)
    around = ndimage.median_filter(smooth, size=5, mode="nearest")
    sound = ground & (smooth > around - 2 * step - 2 * slope * cell)
    smooth = _filled(np.where(sound, heights, np.nan), sound) if sound.any() else smooth
    result: np.ndarray = ndimage.median_filter(smooth, size=3, mode="nearest")
    return result
