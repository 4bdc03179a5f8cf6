"""Points grouped into things: connected components of a graph that joins points nearer than a radius.

That is DBSCAN (Ester et al. 1996) with one point as its least neighbourhood, on the mean points of small cells, so that
its cost does not depend on how densely near surfaces are seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree


@dataclass(frozen=True, eq=False)
class Cells:
    """Mean points ``centre`` (C, 3) of occupied cells, and ``cell`` (N,), the one of each point."""

    centre: np.ndarray
    cell: np.ndarray


def occupied_cells(xyz: np.ndarray, size: float) -> Cells:
    """Cells of ``size`` metres that hold points (N, 3)."""
    if not len(xyz):
        return Cells(np.zeros((0, 3)), np.zeros(0, np.int64))
    place = np.floor((xyz - xyz.min(0)) / size).astype(np.int64)
    span = place.max(0) + 1
    _, cell = np.unique((place[:, 2] * span[1] + place[:, 1]) * span[0] + place[:, 0], return_inverse=True)
    cell = cell.reshape(-1)
    count = np.bincount(cell)
    return Cells(np.stack([np.bincount(cell, xyz[:, axis]) / count for axis in range(3)], 1), cell)


def cluster(xyz: np.ndarray, radius: float, cell: float) -> np.ndarray:
    """Cluster (N,) int64 of each point (N, 3), numbered from 0."""
    cells = occupied_cells(xyz, cell)
    count = len(cells.centre)
    if not count:
        return np.zeros(0, np.int64)
    pairs = cKDTree(cells.centre).query_pairs(radius, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs), np.bool_), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    found: np.ndarray = connected_components(graph, directed=False)[1].astype(np.int64)[cells.cell]
    return found
