"""Measures of each tree of a forest, taken while tiles pass by: a tree is measured once its last tile has passed."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from perception.trees.attributes import Tree, measured_tree
from perception.trees.forest.joining import JoinedTrees, TileStore


class ForestMeasures:
    """Counts and heights come from all points; hulls, volumes and stems from the one point of each voxel."""

    def __init__(self, store: TileStore, joined: JoinedTrees) -> None:
        self._last = joined.last
        self._parts: dict[int, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
        self.points = np.zeros(joined.number, np.int64)
        self.first = np.full(joined.number, np.iinfo(np.int64).max)
        self.top = np.full(joined.number, -np.inf)
        self.trees: dict[int, Tree] = {}
        weight = np.bincount(joined.group, minlength=joined.number)
        sums = np.bincount(joined.group, store.score[: len(joined.group)], joined.number)
        self.score = (sums / np.maximum(weight, 1)).astype(np.float32)

    def add_points(self, tree: np.ndarray, z: np.ndarray, index: np.ndarray) -> None:
        """Some points (n,) of a tile: their tree (-1 none), height and number."""
        rows = np.flatnonzero(tree >= 0)
        tree = tree[rows]
        self.points += np.bincount(tree, minlength=len(self.points))
        np.minimum.at(self.first, tree, index[rows])
        np.maximum.at(self.top, tree, z[rows])

    def add_voxels(self, tree: np.ndarray, xyz: np.ndarray, above: np.ndarray) -> None:
        """The voxels of a tile: tree (K,), point (K, 3) float64 and its height above the ground (K,)."""
        rows = np.flatnonzero(tree >= 0)
        rows = rows[np.argsort(tree[rows], kind="stable")]
        ends = np.flatnonzero(np.diff(tree[rows])) + 1
        for part in np.split(rows, ends):
            if len(part):
                self._parts[int(tree[part[0]])].append((xyz[part], above[part]))

    def tile_done(self, number: int) -> None:
        """Measure the trees that no later tile can add to."""
        for tree in [tree for tree in self._parts if self._last[tree] <= number]:
            parts = self._parts.pop(tree)
            xyz, above = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
            self.trees[tree] = measured_tree(
                tree, xyz, above, int(self.points[tree]), float(self.top[tree]), float(self.score[tree])
            )
