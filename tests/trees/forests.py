"""Small forests on disk whose trees are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from perception.io.writers import write_points
from perception.points import PointCloud

ORIGIN = np.array([412_000.0, 5_318_000.0, 500.0])
PLACES = np.array([[x, y] for y in (4.0, 14.5, 25.5, 36.0) for x in (5.0, 15.0, 24.0, 35.0)])


def forest(seed: int = 0, slope: float = 0.1) -> PointCloud:
    """Sixteen trees with round crowns on 40 x 40 m of slope; four tiles meet in the middle of the plot."""
    generator = np.random.default_rng(seed)
    parts, ids = [], []
    for number, place in enumerate(PLACES, start=1):
        top = 9 + number % 5
        crown = generator.normal(size=(700, 3))
        crown /= np.linalg.norm(crown, axis=1, keepdims=True)
        crown *= generator.uniform(0.3, 1, (700, 1)) ** 0.5 * [2.4, 2.4, 3]
        parts.append(crown + np.array([*place, top - 3]))
        ids += [number] * 700
    ground = np.column_stack([generator.uniform(0, 40, (8000, 2)), generator.normal(0, 0.02, 8000)])
    xyz = np.concatenate([*parts, ground])
    xyz[:, 2] += slope * xyz[:, 0]
    order = generator.permutation(len(xyz))
    truth = np.array(ids + [0] * 8000, np.uint16)[order]
    return PointCloud(xyz[order].astype(np.float32), {"truth": truth}, ORIGIN, "map", metadata={"crs": "EPSG:25832"})


def write_forest(path: Path, seed: int = 0) -> tuple[Path, PointCloud]:
    cloud = forest(seed)
    write_points(path, cloud)
    return path, cloud
