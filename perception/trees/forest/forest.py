"""From LAS files to their trees: sorted into tiles, each tile through the method, joined, measured.

All intermediate results are kept in a folder, tile by tile, from which a stopped run goes on. Memory depends on the
tile, not on the files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from perception.io.las_header import LasHeader
from perception.io.las_tiles import MANIFEST, LasTiles, Tile
from perception.trees.attributes import Tree
from perception.trees.forest.joining import JoinedTrees, TileStore, decide, join_trees
from perception.trees.forest.measuring import ForestMeasures
from perception.trees.forest.point_labels import LabelColumn, PointLabels
from perception.trees.forest.seeing import ThinTile, see
from perception.trees.forest.settings import ForestSettings, Method, check_method, identity
from perception.trees.forest.thinning import CLASSIFICATION, keep_square, thin_square, voxel_keys
from perception.trees.forest.tile_trees import TileTrees, find_trees, keep

Unit = tuple[float, float, float]
METRES: Unit = (1.0, 1.0, 1.0)
Step = Callable[[str], Callable[[int, int], None]]
Found = Iterable[tuple[Tile, TileTrees]]
Runner = Callable[[Method, ForestSettings, Sequence[Tile], Callable[[Tile], ThinTile]], Found]
"""Answers the trees of each tile in any order; ``run_here`` does it one by one."""


@dataclass(frozen=True, eq=False)
class Forest:
    """``trees`` by their id from 1; ``labels`` of all points; ``numbers`` (G + 1,) uint32 and ``scores`` (G + 1,)
    float32 of the labels' trees, the last for no tree."""

    headers: Sequence[LasHeader]
    trees: list[Tree]
    labels: PointLabels
    numbers: np.ndarray
    scores: np.ndarray
    tiles: int

    def columns(self, file: int) -> tuple[LabelColumn, LabelColumn, LabelColumn]:
        """tree_id, tree_score and semantic of the points of one file."""
        first = sum(header.points for header in self.headers[:file])
        points, kept = self.headers[file].points, self.numbers > 0
        ids, scores = (LabelColumn(self.labels, first, points, kept, v) for v in (self.numbers, self.scores))
        return ids, scores, LabelColumn(self.labels, first, points, kept)

    @property
    def points_in_trees(self) -> int:
        return sum(tree.points for tree in self.trees)


def run_here(
    method: Method, settings: ForestSettings, tiles: Sequence[Tile], read: Callable[[Tile], ThinTile]
) -> Found:
    """One tile after the other, in this process."""
    for tile in tiles:
        yield tile, find_trees(method, read(tile), settings)


def segment_forest(
    paths: Sequence[Path],
    folder: Path,
    method: Method,
    settings: ForestSettings,
    step: Step | None = None,
    runner: Runner = run_here,
    unit: Unit = METRES,
) -> Forest:
    """The trees of LAS files that lie beside one another. ``folder`` keeps what is done and takes some 80 bytes a
    point; ``unit``: metres in a step of the files' x, y and z.

    The result does not depend on the order of tiles. Raises PerceptionError for settings that do not fit, for models of
    other tasks, and where the disk is full: the next run then goes on where this one was.
    """
    settings.check()
    check_method(method)
    step = step or (lambda text: lambda done, total: None)
    sorting = step("sorting points into tiles")
    tiles = LasTiles(paths, folder, settings.tile, 0.0, (CLASSIFICATION,), sorting, start=settings.start, unit=unit)
    sorting(tiles.points, tiles.points)
    # Results belong to the very points they were found in: other files, or other tiles of them, are another run.
    sources = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()[:12]
    squares = _squares(tiles, settings, sources, step("thinning tiles"))
    store = _all_tiles(tiles, squares, method, settings, sources, step("finding trees"), runner)
    joined = join_trees(store, progress=step("joining trees over tiles"))
    labels = PointLabels(folder / "labels", tiles.points)
    measures = ForestMeasures(store, joined)
    progress = step("measuring trees")
    for number, tile in enumerate(tiles.tiles):
        _pass_on(tiles, tile, store, joined, settings, labels, measures)
        measures.tile_done(number)
        progress(number + 1, len(tiles))
    return _forest(tiles, measures, labels, settings, unit)


def _squares(
    tiles: LasTiles, settings: ForestSettings, sources: str, progress: Callable[[int, int], None]
) -> Callable[[int, int], Path | None]:
    """Thin all tiles; answers where the square of a column and a row is kept."""
    paths = {
        (tile.column, tile.row): tiles.folder / f"square_{settings.voxel:g}_{sources}_{tile.name}.npz"
        for tile in tiles.tiles
    }
    for number, tile in enumerate(tiles.tiles, start=1):
        path = paths[tile.column, tile.row]
        if not path.is_file():
            keep_square(path, thin_square(tiles, tile, settings.voxel))
        progress(number, len(tiles))
    return lambda column, row: paths.get((column, row))


def _all_tiles(
    tiles: LasTiles,
    squares: Callable[[int, int], Path | None],
    method: Method,
    settings: ForestSettings,
    sources: str,
    progress: Callable[[int, int], None],
    runner: Runner,
) -> TileStore:
    name = f"trees_{identity(method, settings)}_{sources}"

    def path_of(tile: Tile) -> Path:
        return tiles.folder / f"{name}_{tile.name}.npz"

    def read(tile: Tile) -> ThinTile:
        return see(tile, settings.overlap, settings.tallest, squares)

    todo = [tile for tile in tiles.tiles if not path_of(tile).is_file()]
    done = len(tiles) - len(todo)
    progress(done, len(tiles))
    for tile, found in runner(method, settings, todo, read):
        keep(path_of(tile), found)
        done += 1
        progress(done, len(tiles))
    return TileStore(tiles.tiles, settings.overlap, path_of)


def _pass_on(
    tiles: LasTiles,
    tile: Tile,
    store: TileStore,
    joined: JoinedTrees,
    settings: ForestSettings,
    labels: PointLabels,
    measures: ForestMeasures,
) -> None:
    """From the voxels of a tile's square to its points."""
    views = store.views(tile)
    origin, above, semantic = (store.load(tile, name) for name in ("origin", "above", "semantic"))
    xyz = store.load(tile, "xyz").astype(np.float64) + origin
    tree = decide(store, tile, views, xyz[:, :2], joined)
    measures.add_voxels(tree, xyz, above)
    for rows in tiles.rows(tile):
        voxel = np.searchsorted(views.keys, voxel_keys(rows["xyz"], tile, settings.voxel))
        measures.add_points(tree[voxel], rows["xyz"][:, 2], rows["index"])
        labels.add(rows["index"], tree[voxel], semantic[voxel])


def _forest(
    tiles: LasTiles, measures: ForestMeasures, labels: PointLabels, settings: ForestSettings, unit: Unit
) -> Forest:
    """Trees numbered by their first points; those that are too small are none."""
    large = measures.points >= settings.least_points
    order = np.argsort(np.where(large, measures.first, np.iinfo(np.int64).max), kind="stable")
    numbers = np.zeros(len(large) + 1, np.uint32)
    numbers[order[: large.sum()]] = np.arange(1, large.sum() + 1)
    scores = np.where(numbers > 0, np.append(measures.score, 0), 0).astype(np.float32)
    found = [
        replace(tree, tree_id=int(numbers[group]), x=tree.x / unit[0], y=tree.y / unit[1], z=tree.z / unit[2])
        for group, tree in measures.trees.items()
        if numbers[group]
    ]
    found.sort(key=lambda tree: tree.tree_id)
    return Forest(tiles.headers, found, labels, numbers, scores, len(tiles))
