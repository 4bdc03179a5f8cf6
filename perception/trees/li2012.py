"""Trees in airborne lidar by their spacing, from the highest point down (Li et al., PE&RS 78(1), 2012).

The highest point left is a top; every lower one joins its tree or the rest by which is nearer, seen from above; the
rest is searched again.
"""

from __future__ import annotations

import numpy as np
import torch

from perception.compiled import compiled
from perception.config import config
from perception.points import PointCloud
from perception.results import TreeInstances
from perception.trees.cells import sort_into_cells
from perception.trees.merging import numbered_by_first_row
from perception.trees.watershed import heights_above_ground, no_trees


@config
class Li2012:
    """``lower`` and ``upper`` metres: the spacing of trees below and above ``zone`` metres of height. ``local_radius``:
    a point is a top of its own only if it is the highest within it. Points farther than ``reach`` metres from a top are
    not of its tree. Points are thinned to ``voxel`` metres first, as the work grows with the square of their density.
    """

    lower: float = 1.5
    upper: float = 2.0
    zone: float = 15.0
    local_radius: float = 2.0
    least_height: float = 2.0
    reach: float = 10.0
    voxel: float = 0.5


def li2012_trees(cloud: PointCloud, how: Li2012 | None = None) -> TreeInstances:
    """Trees by spacing; points below ``least_height`` above the ground belong to none."""
    how = how or Li2012()
    if not len(cloud):
        return no_trees(0)
    height = heights_above_ground(cloud)
    high = np.flatnonzero(height >= how.least_height)
    points = np.column_stack([cloud.xyz[high, :2], height[high]]).astype(np.float64)
    cells = sort_into_cells(points, how.voxel)
    chosen = _highest_of(points[:, 2], cells.rows, cells.starts)
    found = split_by_spacing(points[chosen], how)
    label = np.full(len(cloud), -1, np.int64)
    label[high] = found[cells.number]
    numbers = numbered_by_first_row(label)
    return TreeInstances(
        torch.from_numpy(numbers),
        torch.from_numpy((numbers > 0).astype(np.float32)),
        torch.from_numpy((height >= how.least_height).astype(np.uint8)),
    )


def split_by_spacing(points: np.ndarray, how: Li2012) -> np.ndarray:
    """The tree of each of ``points`` (N, 3), z their height: (N,) int64 from 0, the highest first."""
    order = np.lexsort((points[:, 1], points[:, 0], -points[:, 2]))
    ordered = np.ascontiguousarray(points[order])
    cells = sort_into_cells(ordered[:, :2], how.reach)
    arrays = (cells.rows, cells.starts, cells.keys, cells.steps, cells.number)
    top = _local_tops(ordered, *arrays, how.local_radius)
    found = _split(ordered, top, *arrays, how.reach, how.lower, how.upper, how.zone)
    label = np.empty(len(points), np.int64)
    label[order] = found
    return label


def _highest_of(height: np.ndarray, rows: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Of each cell the row of its highest point."""
    cell = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    order = np.lexsort((rows, -height[rows], cell))
    chosen: np.ndarray = rows[order[starts[:-1]]]
    return chosen


@compiled
def _local_tops(
    points: np.ndarray,
    rows: np.ndarray,
    starts: np.ndarray,
    keys: np.ndarray,
    steps: np.ndarray,
    cell: np.ndarray,
    radius: float,
) -> np.ndarray:
    """Whether each point is the highest within the radius (which is no larger than a cell)."""
    top = np.ones(len(points), np.bool_)
    for point in range(len(points)):
        for dy in range(-1, 2):
            key = keys[cell[point]] + dy * steps[0] - 1
            near = np.searchsorted(keys, key)
            while near < len(keys) and keys[near] <= key + 2 and top[point]:
                for place in range(starts[near], starts[near + 1]):
                    other = rows[place]
                    if other >= point:  # rows of a cell ascend, the highest first
                        break
                    dx = points[other, 0] - points[point, 0]
                    dz = points[other, 1] - points[point, 1]
                    if dx * dx + dz * dz <= radius * radius:
                        top[point] = False
                        break
                near += 1
    return top


@compiled
def _split(
    points: np.ndarray,
    top: np.ndarray,
    rows: np.ndarray,
    starts: np.ndarray,
    keys: np.ndarray,
    steps: np.ndarray,
    cell: np.ndarray,
    reach: float,
    lower: float,
    upper: float,
    zone: float,
) -> np.ndarray:
    number = len(points)
    labels = np.full(number, -1, np.int64)
    near_rows = np.empty(number, np.int64)
    inside = np.empty(number, np.int64)
    outside = np.empty(number, np.int64)
    total = 0
    for seed in range(number):
        if labels[seed] >= 0:
            continue
        count = 0
        for dy in range(-1, 2):
            key = keys[cell[seed]] + dy * steps[0] - 1
            near = np.searchsorted(keys, key)
            while near < len(keys) and keys[near] <= key + 2:
                for place in range(starts[near], starts[near + 1]):
                    other = rows[place]
                    if labels[other] < 0 and _square(points, other, seed) <= reach * reach:
                        near_rows[count] = other
                        count += 1
                near += 1
        candidates = np.sort(near_rows[:count])
        labels[seed] = total
        inside[0] = seed
        ins, outs = 1, 0
        for point in candidates:
            if point == seed:
                continue
            to_tree = np.inf
            for k in range(ins):
                to_tree = min(to_tree, _square(points, point, inside[k]))
            to_rest = np.inf
            for k in range(outs):
                to_rest = min(to_rest, _square(points, point, outside[k]))
            spacing = upper if points[point, 2] > zone else lower
            joins = to_tree <= to_rest
            if to_tree > spacing * spacing and top[point]:
                joins = False
            if outs == 0 and to_tree > spacing * spacing:
                joins = False
            if joins:
                labels[point] = total
                inside[ins] = point
                ins += 1
            else:
                outside[outs] = point
                outs += 1
        total += 1
    return labels


@compiled
def _square(points: np.ndarray, one: int, other: int) -> float:
    dx = points[one, 0] - points[other, 0]
    dy = points[one, 1] - points[other, 1]
    return dx * dx + dy * dy
