"""Trees in terrestrial lidar: stems near the ground, and the ways of wood that lead up from them.

Stems are upright points at breast height that hang together. Every voxel of the plot then goes to the stem with the
shortest way through occupied voxels (as the ways of Dijkstra's algorithm in Krůček et al. 2023, 3D Forest, and in
TLS2trees, Wilkes et al. 2023); steps between voxels cost the square of their length, which keeps ways out of gaps.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from perception.config import config
from perception.points import PointCloud
from perception.results import TreeInstances
from perception.trees.cells import sort_into_cells
from perception.trees.clustering import connected
from perception.trees.merging import numbered_by_first_row
from perception.trees.shape import verticality
from perception.trees.watershed import heights_above_ground, no_trees

ATTEMPTS = 3  # at parting stems from what grows on them


@config
class Stems:
    """Stems are looked for between ``low`` and ``high`` metres above the ground, among points of at least
    ``least_verticality`` (within ``radius``); a stem's points are within ``gap`` of one another and reach over ``tall``
    metres. ``voxel``: of the ways; ``step``: the widest gap a way goes over; ``widest``: a stem's extent."""

    low: float = 0.7
    high: float = 4.0
    thin: float = 0.04
    least_verticality: float = 0.75
    radius: float = 0.3
    gap: float = 0.18
    tall: float = 1.5
    least_points: int = 30
    widest: float = 1.5
    voxel: float = 0.2
    step: float = 0.8
    least_height: float = 0.3


def stem_trees(cloud: PointCloud, how: Stems | None = None) -> TreeInstances:
    """A tree for each stem, with everything whose shortest way leads down to it; without a stem no tree."""
    how = how or Stems()
    if not len(cloud):
        return no_trees(0)
    height = heights_above_ground(cloud)
    stem = find_stems(cloud.xyz, height, how)
    above = np.flatnonzero(height >= how.least_height)
    label = np.full(len(cloud), -1, np.int64)
    if stem.max(initial=-1) >= 0:
        label[above] = ways_up(cloud.xyz[above], stem[above], how)
    numbers = numbered_by_first_row(label)
    return TreeInstances(
        torch.from_numpy(numbers),
        torch.from_numpy((numbers > 0).astype(np.float32)),
        torch.from_numpy((height >= how.least_height).astype(np.uint8)),
    )


def find_stems(xyz: np.ndarray, height: np.ndarray, how: Stems) -> np.ndarray:
    """The stem (N,) of points at breast height, from 0, -1 for all others."""
    label = np.full(len(xyz), -1, np.int64)
    rows = np.flatnonzero((height >= how.low) & (height <= how.high))
    if not len(rows):
        return label
    cells = sort_into_cells(xyz[rows], how.thin)
    thin = rows[cells.rows[cells.starts[:-1]]]
    upright = verticality(xyz[thin], how.radius)
    thin, upright = thin[upright >= how.least_verticality], upright[upright >= how.least_verticality]
    place, found, gap, least = np.full(len(thin), -1, np.int64), 0, how.gap, how.least_verticality
    left = np.arange(len(thin))
    for _ in range(ATTEMPTS):
        part, sound, wide = _standing(xyz[thin[left]], gap, how)
        place[left[sound[part]]] = found + (np.cumsum(sound) - 1)[part][sound[part]]
        found += int(sound.sum())
        # What is too wide for a stem may be one with branches: its most upright points, and only the nearest of them.
        gap, least = 0.6 * gap, (least + 1) / 2
        left = left[wide[part]]
        left = left[upright[left] >= least]
        if not len(left):
            break
    label[thin] = _one_above_another(xyz[thin], place)
    return label


def _standing(xyz: np.ndarray, gap: float, how: Stems) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parts (N,) of points that hang together, and which (P,) of them are stems, and which too wide for one."""
    part = connected(xyz, gap)
    number = int(part.max()) + 1 if len(part) else 0
    low, high = (np.full((number, 3), sign * np.inf) for sign in (1, -1))
    np.minimum.at(low, part, xyz)
    np.maximum.at(high, part, xyz)
    extent = high - low
    tall = (np.bincount(part, minlength=number) >= how.least_points) & (extent[:, 2] >= how.tall)
    narrow = (extent[:, :2] <= how.widest).all(1)
    return part, tall & narrow, tall & ~narrow


def _one_above_another(xyz: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Parts of one stem, which branches or shadows cut, become one: those whose middles are near from above."""
    number = int(part.max(initial=-1)) + 1
    if not number:
        return part
    known = part >= 0
    middle = np.column_stack([np.bincount(part[known], xyz[known, axis], number) for axis in (0, 1)])
    group = connected(middle / np.bincount(part[known], minlength=number)[:, None], 0.3)
    return np.where(known, group[part], -1)


def ways_up(xyz: np.ndarray, stem: np.ndarray, how: Stems) -> np.ndarray:
    """The stem (N,) that the shortest way from each point leads to, -1 where none does."""
    cells = sort_into_cells(xyz, how.voxel)
    counts = np.diff(cells.starts)
    middle = np.add.reduceat(xyz[cells.rows].astype(np.float64), cells.starts[:-1]) / counts[:, None]
    pairs = _steps(middle, how)
    square = ((middle[pairs[:, 0]] - middle[pairs[:, 1]]) ** 2).sum(1)
    graph = coo_matrix((square, (pairs[:, 0], pairs[:, 1])), shape=(len(middle),) * 2).tocsr()
    in_cell = stem[cells.rows]
    of_cell = np.maximum.reduceat(in_cell, cells.starts[:-1])
    sources = np.flatnonzero(of_cell >= 0)
    if not len(sources):
        return np.full(len(xyz), -1, np.int64)
    _, _, source = dijkstra(graph, directed=False, indices=sources, min_only=True, return_predecessors=True)
    reached = source >= 0
    cell_label = np.where(reached, of_cell[np.where(reached, source, 0)], -1)
    found: np.ndarray = cell_label[cells.number]
    return found


def _steps(middle: np.ndarray, how: Stems) -> np.ndarray:
    """Pairs (K, 2) of voxels that a way may lead between: neighbours, and over gaps one voxel of each eight.

    All pairs within a wide step would be hundreds for each voxel.
    """
    near = cKDTree(middle).query_pairs(1.8 * how.voxel, output_type="ndarray")
    coarse = sort_into_cells(middle, 2 * how.voxel)
    some = coarse.rows[coarse.starts[:-1]]
    far = some[cKDTree(middle[some]).query_pairs(how.step, output_type="ndarray")]
    return np.unique(np.sort(np.concatenate([near, far]), 1), axis=0)
