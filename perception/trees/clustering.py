"""Points that hang together: all within a radius of one another, one after the other (region growing).

PointGroup (Jiang et al., CVPR 2020, algorithm 1) grows its proposals so. Its published code looks at no more than some
neighbours of each point, which makes the answer depend on the order of points: ``official_grow_regions`` does as
it does, ``grow_regions`` gives the whole components.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from perception.compiled import compiled
from perception.trees.cells import Cells, sort_into_cells

Find = Callable[[np.ndarray], np.ndarray]


def grow_regions(points: np.ndarray, group: np.ndarray, radius: float, least: int) -> np.ndarray:
    """Region of each of ``points`` (N, 3), numbered by their first rows from 0, -1 for none: (N,) int64.

    Points of different ``group`` (N,) never share a region; regions of fewer than ``least`` points are none.
    """
    return _by_group(points, group, least, lambda inside: connected(inside, radius))


def official_grow_regions(
    points: np.ndarray, group: np.ndarray, radius: float, least: int, neighbours: int = 200
) -> np.ndarray:
    """As published: a flood that knows only the first ``neighbours`` rows within the radius of each point.

    Which points a region takes thus depends on the order of rows. Otherwise as ``grow_regions``.
    """

    def flood(inside: np.ndarray) -> np.ndarray:
        cells = sort_into_cells(inside, radius)
        inside = np.ascontiguousarray(inside, np.float64)
        return _flood(inside, *_arrays(cells), cells.number, radius, neighbours)

    return _by_group(points, group, least, flood)


def connected(points: np.ndarray, radius: float) -> np.ndarray:
    """Component of each point (N, 2 or 3) where those within ``radius`` hang together, numbered by their first rows."""
    if points.shape[1] == 2:
        points = np.column_stack([np.zeros(len(points)), points])
    # All points of a cell hang together; a hair less than the diagonal, so that rounding cannot undo it.
    cells = sort_into_cells(points, radius / math.sqrt(3) * (1 - 1e-9))
    roots = _components(np.ascontiguousarray(points, np.float64), *_arrays(cells), radius, _near_rows())
    return _numbered(roots[cells.number])


def connected_reference(points: np.ndarray, radius: float) -> np.ndarray:
    """What ``connected`` answers, from the list of all pairs."""
    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray") if len(points) else np.zeros((0, 2), int)
    graph = coo_matrix((np.ones(len(pairs), bool), pairs.T), shape=(len(points),) * 2)
    return _numbered(connected_components(graph, directed=False)[1])


def _by_group(points: np.ndarray, group: np.ndarray, least: int, find: Find) -> np.ndarray:
    labels = np.full(len(points), -1, np.int64)
    total = 0
    for number in np.unique(group):
        rows = np.flatnonzero(group == number)
        found = find(points[rows])
        large = np.bincount(found) >= least
        renumbered = np.where(large, np.cumsum(large) - 1 + total, -1)
        labels[rows] = renumbered[found]
        total += int(large.sum())
    return labels


def _numbered(labels: np.ndarray) -> np.ndarray:
    """The same sets, numbered by their first rows."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    numbered: np.ndarray = rank[inverse]
    return numbered


def _arrays(cells: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return cells.rows, cells.starts, cells.keys, cells.steps


def _near_rows() -> np.ndarray:
    """The rows of cells (dz, dy, first dx, last dx) behind a cell in the grid that can hold a point within the radius:
    at most two cells away on every axis."""
    rows = [(0, 0, 1, 2)]
    rows += [(z, y, -2, 2) for z in range(3) for y in range(-2, 3) if (z, y) > (0, 0)]
    return np.array(rows, np.int64)


@compiled
def _components(
    points: np.ndarray,
    rows: np.ndarray,
    starts: np.ndarray,
    keys: np.ndarray,
    steps: np.ndarray,
    radius: float,
    near: np.ndarray,
) -> np.ndarray:
    """A root for each cell, cells of one component sharing it."""
    cells = len(keys)
    parent = np.arange(cells)
    low = np.empty((cells, 3))
    high = np.empty((cells, 3))
    ordered = np.empty((len(rows), 3))
    for cell in range(cells):
        for axis in range(3):
            low[cell, axis] = np.inf
            high[cell, axis] = -np.inf
        for place in range(starts[cell], starts[cell + 1]):
            for axis in range(3):
                value = points[rows[place], axis]
                ordered[place, axis] = value
                low[cell, axis] = min(low[cell, axis], value)
                high[cell, axis] = max(high[cell, axis], value)
    square = radius * radius
    for number in range(len(near)):
        shift = near[number, 0] * steps[0] + near[number, 1] * steps[1]
        first = 0
        for cell in range(cells):
            start = keys[cell] + shift + near[number, 2]
            stop = keys[cell] + shift + near[number, 3]
            while first < cells and keys[first] < start:
                first += 1
            other = first
            while other < cells and keys[other] <= stop:
                a, b = _root(parent, cell), _root(parent, other)
                if a != b and _touch(ordered, starts, low, high, cell, other, square):
                    parent[max(a, b)] = min(a, b)
                other += 1
    for cell in range(cells):
        parent[cell] = _root(parent, cell)
    return parent


@compiled
def _root(parent: np.ndarray, cell: int) -> int:
    while parent[cell] != cell:
        parent[cell] = parent[parent[cell]]
        cell = parent[cell]
    return cell


@compiled
def _touch(
    points: np.ndarray, starts: np.ndarray, low: np.ndarray, high: np.ndarray, one: int, other: int, square: float
) -> bool:
    """Whether two cells hold points within the radius; only points near the other's box are compared."""
    if _gap(low[one], high[one], low[other], high[other]) > square:
        return False
    for a in range(starts[one], starts[one + 1]):
        if _gap(points[a], points[a], low[other], high[other]) > square:
            continue
        for b in range(starts[other], starts[other + 1]):
            distance = 0.0
            for axis in range(3):
                difference = points[a, axis] - points[b, axis]
                distance += difference * difference
            if distance <= square:
                return True
    return False


@compiled
def _gap(low: np.ndarray, high: np.ndarray, other_low: np.ndarray, other_high: np.ndarray) -> float:
    """Squared distance of two boxes."""
    total = 0.0
    for axis in range(len(low)):
        apart = max(other_low[axis] - high[axis], low[axis] - other_high[axis], 0.0)
        total += apart * apart
    return total


@compiled
def _flood(
    points: np.ndarray,
    rows: np.ndarray,
    starts: np.ndarray,
    keys: np.ndarray,
    steps: np.ndarray,
    cell: np.ndarray,
    radius: float,
    most: int,
) -> np.ndarray:
    number = len(points)
    labels = np.full(number, -1, np.int64)
    stack = np.empty(number, np.int64)
    found = np.empty(number, np.int64)
    square = radius * radius
    total = 0
    for seed in range(number):
        if labels[seed] >= 0:
            continue
        labels[seed] = total
        stack[0] = seed
        height = 1
        while height:
            height -= 1
            point = stack[height]
            count = 0
            for z in range(-1, 2):
                for y in range(-1, 2):
                    key = keys[cell[point]] + z * steps[0] + y * steps[1] - 1
                    near = np.searchsorted(keys, key)
                    while near < len(keys) and keys[near] <= key + 2:
                        for place in range(starts[near], starts[near + 1]):
                            if _gap(points[point], points[point], points[rows[place]], points[rows[place]]) < square:
                                found[count] = rows[place]
                                count += 1
                        near += 1
            ordered = np.sort(found[:count])
            for other in ordered[:most]:
                if labels[other] < 0:
                    labels[other] = total
                    stack[height] = other
                    height += 1
        total += 1
    return labels
