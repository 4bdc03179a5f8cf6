"""Trees of tiles as trees of the forest: one-to-one on what two tiles both see, and each voxel to the best view of it.

All tiles are looked at before anything is decided, so that their order does not show, and the tile that sees most
around a tree decides about it, so that the grid hardly shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from perception.io.las_tiles import Tile
from perception.trees.forest.seeing import AROUND
from perception.trees.merging import one_to_one

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Views:
    """The voxels of one square, ``keys`` (K,), and what each tile that sees some of them says: ``tiles`` their
    numbers, ``labels`` (tiles, K) int64 trees of the whole from 0, NONE for no tree, UNSEEN."""

    keys: np.ndarray
    tiles: tuple[int, ...]
    labels: np.ndarray


NONE, UNSEEN = -1, -2


@dataclass(frozen=True, eq=False)
class TileStore:
    """The kept trees of all ``tiles``; ``path_of`` names the file of one."""

    tiles: Sequence[Tile]
    margin: float
    path_of: Callable[[Tile], Path]

    @cached_property
    def number_of(self) -> dict[tuple[int, int], int]:
        return {(tile.column, tile.row): number for number, tile in enumerate(self.tiles)}

    @cached_property
    def first_tree(self) -> np.ndarray:
        """The first tree (tiles + 1,) of each tile in the numbering of the whole."""
        return np.concatenate([[0], np.cumsum([len(self.load(tile, "score")) for tile in self.tiles])]).astype(np.int64)

    @cached_property
    def score(self) -> np.ndarray:
        """Of all tiles' trees (T,)."""
        return np.concatenate([np.zeros(0, np.float32), *(self.load(tile, "score") for tile in self.tiles)])

    @cached_property
    def tile_of_tree(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.tiles)), np.diff(self.first_tree))

    @cached_property
    def depth(self) -> np.ndarray:
        """How far within what its tile sees the middle of each tree is (T,), in metres."""
        parts = [np.zeros(0)]
        parts += [self.depth_in(tile, self.load(tile, "anchor")) for tile in self.tiles]
        return np.concatenate(parts)

    def load(self, tile: Tile, name: str) -> np.ndarray:
        with np.load(self.path_of(tile), allow_pickle=False) as found:
            values: np.ndarray = found[name]
            return values

    def depth_in(self, tile: Tile, xy: np.ndarray) -> np.ndarray:
        """Metres from points (N, 2) to the edge of what a tile sees."""
        away = np.abs(xy - np.array(tile.centre)).max(1) if len(xy) else np.zeros(0)
        return np.asarray(tile.size / 2 + self.margin - away)

    def views(self, tile: Tile) -> Views:
        """What all tiles say about the square of one."""
        keys: np.ndarray = np.zeros(0, np.int64)
        numbers, labels = [], []
        with np.load(self.path_of(tile), allow_pickle=False) as own:
            if "keys0_0" in own:
                keys = own["keys0_0"]
        for x, y in AROUND:
            number = self.number_of.get((tile.column + x, tile.row + y))
            if number is None:
                continue
            with np.load(self.path_of(self.tiles[number]), allow_pickle=False) as found:
                if f"keys{-x}_{-y}" not in found:
                    continue
                at = np.searchsorted(keys, found[f"keys{-x}_{-y}"])
                label = found[f"labels{-x}_{-y}"].astype(np.int64)
            row = np.full(len(keys), UNSEEN)
            row[at] = np.where(label > 0, label - 1 + self.first_tree[number], NONE)
            numbers.append(number)
            labels.append(row)
        stacked = np.stack(labels) if labels else np.zeros((0, len(keys)), np.int64)
        return Views(keys, tuple(numbers), stacked)


@dataclass(frozen=True, eq=False)
class JoinedTrees:
    """``group`` (T,): the tree of the forest that each tile's tree is, numbered from 0 to ``number``; ``last``
    (number,): the last tile in whose square some tile sees a point of each."""

    group: np.ndarray
    number: int
    last: np.ndarray


def join_trees(
    store: TileStore, overlap: float = 0.3, least_shared: int = 5, progress: Progress | None = None
) -> JoinedTrees:
    """Two tiles' trees are one if, of the voxels that both tiles see, their intersection over union exceeds
    ``overlap`` on ``least_shared`` or more; the most alike first, and no tree takes two of one tile."""
    shared, seen = _Counts(), _Counts()
    trees, tiles = int(store.first_tree[-1]), len(store.tiles)
    last = np.zeros(trees, np.int64)
    for done, tile in enumerate(store.tiles, start=1):
        views = store.views(tile)
        last[views.labels[views.labels >= 0]] = done - 1
        for first, second, one, other in _pairs(views):
            seen.add((one * tiles + second)[one >= 0])
            seen.add((other * tiles + first)[other >= 0])
            both = (one >= 0) & (other >= 0)
            shared.add(np.minimum(one, other)[both] * trees + np.maximum(one, other)[both])
        if progress is not None:
            progress(done, tiles)
    pairs, common = shared.totals()
    in_tile, size = seen.totals()
    pairs, common = pairs[common >= least_shared], common[common >= least_shared]
    a, b = np.divmod(pairs, max(trees, 1))
    of_a = size[np.searchsorted(in_tile, a * tiles + store.tile_of_tree[b])] if len(a) else common
    of_b = size[np.searchsorted(in_tile, b * tiles + store.tile_of_tree[a])] if len(a) else common
    likeness = common / np.maximum(of_a + of_b - common, 1)
    order = np.lexsort((b, a, -common, -likeness))
    order = order[likeness[order] > overlap]
    root = one_to_one(store.tile_of_tree, np.column_stack([a[order], b[order]]))
    found, group = np.unique(root, return_inverse=True)
    last_of_group = np.zeros(len(found), np.int64)
    np.maximum.at(last_of_group, group, last)
    return JoinedTrees(group.astype(np.int64), len(found), last_of_group)


def decide(store: TileStore, tile: Tile, views: Views, xy: np.ndarray, joined: JoinedTrees) -> np.ndarray:
    """The tree of the forest (K,) of each voxel of a tile's square, -1 for none; ``xy`` (K, 2) metres.

    The view counts in which the tree's middle, or the voxel that is said to be in no tree, is farthest inside.
    """
    best, depth = np.full(len(views.keys), NONE), np.full(len(views.keys), -np.inf)
    for number, label in zip(views.tiles, views.labels):
        if not (label != UNSEEN).any():
            continue
        inside = store.depth_in(store.tiles[number], xy)
        if len(store.depth):
            inside = np.where(label >= 0, store.depth[np.maximum(label, 0)], inside)
        better = (label != UNSEEN) & (inside > depth)
        best[better], depth[better] = label[better], inside[better]
    if not len(joined.group):
        return best
    return np.where(best >= 0, joined.group[np.maximum(best, 0)], NONE)


def _pairs(views: Views) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Labels of two tiles at a time where both see."""
    for i in range(len(views.tiles)):
        for j in range(i + 1, len(views.tiles)):
            both = np.flatnonzero((views.labels[i] != UNSEEN) & (views.labels[j] != UNSEEN))
            if len(both):
                yield views.tiles[i], views.tiles[j], views.labels[i][both], views.labels[j][both]


class _Counts:
    """How often each number occurs, added up in parts."""

    def __init__(self) -> None:
        self._values: list[np.ndarray] = [np.zeros(0, np.int64)]
        self._counts: list[np.ndarray] = [np.zeros(0, np.int64)]

    def add(self, values: np.ndarray) -> None:
        found, counts = np.unique(values, return_counts=True)
        self._values.append(found)
        self._counts.append(counts)

    def totals(self) -> tuple[np.ndarray, np.ndarray]:
        """Values ascending, and their counts."""
        found, inverse = np.unique(np.concatenate(self._values), return_inverse=True)
        counts = np.zeros(len(found), np.int64)
        np.add.at(counts, inverse, np.concatenate(self._counts))
        return found, counts
