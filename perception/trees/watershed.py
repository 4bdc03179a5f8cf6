"""Trees in airborne lidar: the tops of a canopy height model and the ground that drains to each, upside down.

Tops: Popescu & Wynne, PE&RS 70(5), 2004 (windows that grow with height). Crowns: the marker-controlled watershed of
Beucher & Meyer (1993), flooded from a priority queue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from perception.compiled import compiled
from perception.config import config
from perception.ground import estimate_ground
from perception.points import PointCloud
from perception.results import TreeInstances
from perception.trees.merging import numbered_by_first_row

ABOVE_GROUND = "height_above_ground"
"""Field of a cloud whose ground was looked for before."""


@config
class Watershed:
    """``cell`` metres of the height model, smoothed by ``blur`` metres. A top is the highest within ``base`` +
    ``slope`` * height metres, between ``narrowest`` and ``widest``; nothing lower than ``least_height`` is a tree, and
    a crown ends where the canopy is below ``crown_share`` of its top."""

    cell: float = 0.5
    blur: float = 0.5
    base: float = 1.0
    slope: float = 0.05
    narrowest: float = 1.0
    widest: float = 4.0
    least_height: float = 2.0
    crown_share: float = 0.3


@dataclass(frozen=True, eq=False)
class Canopy:
    """``heights`` (rows, columns) above the ground; ``place`` (N,) the cell of each point, flattened."""

    heights: np.ndarray
    place: np.ndarray


def watershed_trees(cloud: PointCloud, how: Watershed | None = None) -> TreeInstances:
    """Trees from above: each point belongs to the crown of its cell, if it is high enough above the ground."""
    how = how or Watershed()
    if not len(cloud):
        return no_trees(0)
    height = heights_above_ground(cloud)
    canopy = canopy_heights(cloud.xyz[:, :2], height, how)
    crowns = crowns_of(canopy.heights, treetops(canopy.heights, how), how)
    label = np.where(height >= how.least_height, crowns.ravel()[canopy.place], -1)
    numbers = numbered_by_first_row(label)
    return TreeInstances(
        torch.from_numpy(numbers),
        torch.from_numpy((numbers > 0).astype(np.float32)),
        torch.from_numpy((height >= how.least_height).astype(np.uint8)),
    )


def no_trees(points: int) -> TreeInstances:
    return TreeInstances(
        torch.zeros(points, dtype=torch.int32), torch.zeros(points), torch.zeros(points, dtype=torch.uint8)
    )


def heights_above_ground(cloud: PointCloud) -> np.ndarray:
    """Height (N,) of each point; roofs do not occur in forests, so small windows will do."""
    if ABOVE_GROUND in cloud.fields:
        return cloud.fields[ABOVE_GROUND]
    ground = estimate_ground(cloud.xyz, largest_object=15.0)
    above: np.ndarray = cloud.xyz[:, 2] - ground.at(cloud.xyz[:, :2])
    return above


def canopy_heights(xy: np.ndarray, height: np.ndarray, how: Watershed) -> Canopy:
    """The highest point of each cell; small gaps take the highest of their neighbours; smoothed."""
    cells = np.floor(xy.astype(np.float64) / how.cell).astype(np.int64)
    cells -= cells.min(0)
    columns, rows = (cells.max(0) + 1).tolist()
    place = cells[:, 1] * columns + cells[:, 0]
    top = np.full(rows * columns, -np.inf)
    np.maximum.at(top, place, height)
    grid = top.reshape(rows, columns)
    empty = ~np.isfinite(grid)
    around = ndimage.maximum_filter(np.where(empty, -np.inf, grid), 3)
    grid = np.where(empty & np.isfinite(around), around, np.where(empty, 0, grid))
    smooth = ndimage.gaussian_filter(np.maximum(grid, 0), how.blur / how.cell, mode="nearest")
    return Canopy(smooth, place)


def treetops(heights: np.ndarray, how: Watershed) -> np.ndarray:
    """Flat cells (T,) that are the highest within the window of their own height; of equal ones the first."""
    candidates = np.flatnonzero((heights >= how.least_height).ravel())
    candidates = candidates[(heights == ndimage.maximum_filter(heights, 3)).ravel()[candidates]]
    radius = np.clip(how.base + how.slope * heights.ravel()[candidates], how.narrowest, how.widest) / how.cell
    order = np.lexsort((candidates, -heights.ravel()[candidates]))
    kept = _highest(heights, candidates[order], radius[order])
    return np.sort(candidates[order][kept])


def crowns_of(heights: np.ndarray, tops: np.ndarray, how: Watershed) -> np.ndarray:
    """The top (rows, columns) that each cell drains to upside down, -1 for none."""
    labels = np.full(heights.size, -1, np.int64)
    labels[tops] = np.arange(len(tops))
    _flood(np.ascontiguousarray(heights), tops, labels, how.least_height, how.crown_share)
    return labels.reshape(heights.shape)


@compiled
def _highest(heights: np.ndarray, candidates: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Which candidates, the highest first, have nothing higher, and no top of their height, in their window."""
    rows, columns = heights.shape
    taken = np.zeros((rows, columns), np.bool_)
    kept = np.zeros(len(candidates), np.bool_)
    for number in range(len(candidates)):
        row, column = candidates[number] // columns, candidates[number] % columns
        reach = int(radius[number])
        square = radius[number] * radius[number]
        best = True
        for r in range(max(row - reach, 0), min(row + reach + 1, rows)):
            for c in range(max(column - reach, 0), min(column + reach + 1, columns)):
                inside = (r - row) * (r - row) + (c - column) * (c - column) <= square
                if inside and (heights[r, c] > heights[row, column] or taken[r, c]):
                    best = False
        if best:
            kept[number] = True
            taken[row, column] = True
    return kept


@compiled
def _flood(heights: np.ndarray, tops: np.ndarray, labels: np.ndarray, least: float, share: float) -> None:
    """From the highest cell down; of equally high ones the first that was reached."""
    rows, columns = heights.shape
    flat = heights.ravel()
    heap = [(0.0, 0, 0)]
    heap.pop()
    count = 0
    for top in tops:
        _push(heap, (-flat[top], count, top))
        count += 1
    while len(heap):
        _, _, cell = _pop(heap)
        label = labels[cell]
        row, column = cell // columns, cell % columns
        for dr in range(-1, 2):
            for dc in range(-1, 2):
                r, c = row + dr, column + dc
                if r < 0 or c < 0 or r >= rows or c >= columns:
                    continue
                other = r * columns + c
                height = flat[other]
                if labels[other] >= 0 or height < least or height < share * flat[tops[label]]:
                    continue
                labels[other] = label
                _push(heap, (-min(height, flat[cell]), count, other))
                count += 1


@compiled
def _push(heap: list, item: tuple) -> None:
    heap.append(item)
    place = len(heap) - 1
    while place > 0:
        above = (place - 1) // 2
        if heap[above] <= item:
            break
        heap[place] = heap[above]
        place = above
    heap[place] = item


@compiled
def _pop(heap: list) -> tuple:
    best: tuple = heap[0]
    last = heap.pop()
    size = len(heap)
    if size:
        place = 0
        while True:
            below = 2 * place + 1
            if below >= size:
                break
            if below + 1 < size and heap[below + 1] < heap[below]:
                below += 1
            if last <= heap[below]:
                break
            heap[place] = heap[below]
            place = below
        heap[place] = last
    return best
