"""The trees of one tile, as they are kept until all tiles are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from perception.io.files import write_atomically
from perception.models.tree_model import HEIGHT
from perception.trees.forest.seeing import Slot, ThinTile
from perception.trees.forest.settings import ForestSettings, Method
from perception.trees.watershed import ABOVE_GROUND
from perception.trees.whole_cloud import segment_trees


@dataclass(frozen=True, eq=False)
class TileTrees:
    """``keys`` and ``labels`` of the voxels of each square that the tile sees: a tree from 1, 0 for none.

    Of the voxels of the tile itself also ``xyz`` (K, 3) float32 about ``origin``, ``above`` the ground (K,) and
    ``semantic`` (K,). Of each tree ``anchor`` (T, 2), its middle from above in metres, and ``score`` (T,).
    """

    keys: Mapping[Slot, np.ndarray]
    labels: Mapping[Slot, np.ndarray]
    xyz: np.ndarray
    above: np.ndarray
    semantic: np.ndarray
    origin: np.ndarray
    anchor: np.ndarray
    score: np.ndarray


def find_trees(method: Method, thin: ThinTile, settings: ForestSettings) -> TileTrees:
    """Run the method on the thinned points of a tile; what it does not see belongs to no tree."""
    seen, above = thin.seen, thin.above
    cloud = thin.cloud.select(seen)
    fields = {ABOVE_GROUND: above[seen]}
    if settings.normalise:
        fields[HEIGHT] = above[seen].astype(np.float32)
    found = segment_trees(method, replace(cloud, fields=fields))
    number = len(thin.cloud)
    label, semantic, score = np.zeros(number, np.int32), np.zeros(number, np.uint8), np.zeros(number)
    label[seen] = found.tree_id.cpu().numpy()
    semantic[seen] = found.semantic.cpu().numpy()
    score[seen] = found.tree_score.cpu().numpy()
    size = np.bincount(label)
    trees = len(size)
    world = thin.cloud.xyz[:, :2].astype(np.float64) + thin.cloud.origin[:2]
    sums = np.column_stack([np.bincount(label, column, trees) for column in (*world.T, score)])
    means = (sums / np.maximum(size, 1)[:, None])[1:]
    core = next((slice(start, end) for slot, start, end in thin.slots if slot == (0, 0)), slice(0, 0))
    return TileTrees(
        {slot: thin.keys[start:end] for slot, start, end in thin.slots},
        {slot: label[start:end] for slot, start, end in thin.slots},
        thin.cloud.xyz[core],
        above[core].astype(np.float32),
        semantic[core],
        thin.cloud.origin,
        means[:, :2],
        means[:, 2].astype(np.float32),
    )


def keep(path: Path, trees: TileTrees) -> None:
    """Write a tile's trees, whole or not at all."""
    arrays = {f"keys{x}_{y}": values for (x, y), values in trees.keys.items()}
    arrays |= {f"labels{x}_{y}": values for (x, y), values in trees.labels.items()}
    others = ("xyz", "above", "semantic", "origin", "anchor", "score")
    arrays |= {name: getattr(trees, name) for name in others}
    with write_atomically(path, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
