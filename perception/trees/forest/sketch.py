"""A picture of a whole forest from a share of its points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from perception.io.las import record_chunks
from perception.points import PointCloud
from perception.results import TreeInstances
from perception.trees.forest.forest import Forest, Unit
from perception.view.trees import tree_picture

PICTURED_POINTS = 2_000_000


def draw_forest(forest: Forest, unit: Unit, path: Path) -> None:
    """From above and from the side, in a colour for each tree; of large forests every so many-th point."""
    points = sum(header.points for header in forest.headers)
    every = max(-(-points // PICTURED_POINTS), 1)
    places, ids = [np.zeros((0, 3))], [np.zeros(0, np.int64)]
    for number, header in enumerate(forest.headers):
        tree_id, done = forest.columns(number)[0], 0
        for records in record_chunks(header):
            some = records[::every]
            xyz = np.column_stack([some[name] for name in "XYZ"]) * header.scale + header.offset
            places.append(xyz * unit)
            ids.append(tree_id[done : done + len(records)][::every].astype(np.int64))
            done += len(records)
    world = np.concatenate(places)
    origin = np.floor(world.min(0)) if len(world) else np.zeros(3)
    cloud = PointCloud((world - origin).astype(np.float32), origin=origin, frame="map")
    found = np.concatenate(ids)
    title = forest.headers[0].path.name if len(forest.headers) == 1 else f"{len(forest.headers)} files"
    trees = TreeInstances(
        torch.from_numpy(found.astype(np.int32)),
        torch.zeros(len(found)),
        torch.from_numpy((found > 0).astype(np.uint8)),
    )
    tree_picture(cloud, trees, path, title=title)
