"""What a forester asks of each tree: where it stands, how high and wide it is, how thick its stem."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from perception.errors import PerceptionError
from perception.ground import Ground, estimate_ground
from perception.points import PointCloud
from perception.results import TreeInstances
from perception.trees.circles import Circle, fit_circle

BREAST_HEIGHT = 1.3
HALF_SLICE = 0.15
VOXEL = 0.25


@dataclass(frozen=True)
class Tree:
    """One tree. Metres, square and cubic metres; ``x`` ``y`` ``z`` of its foot in the coordinates of the map.

    ``height``: of its highest point above the ground at the foot. ``crown_diameter``: of a circle of the hull's area,
    seen from above. ``volume``: of the voxels of 0.25 m that it occupies. ``stem_diameter``: at 1.3 m, NaN where the
    points there do not lie on a circle; ``stem_share`` the share of them that do. ``score``: mean of its points.
    """

    tree_id: int
    x: float
    y: float
    z: float
    height: float
    crown_diameter: float
    hull_area: float
    volume: float
    points: int
    stem_diameter: float
    stem_share: float
    score: float


def measure_trees(cloud: PointCloud, trees: TreeInstances, ground: Ground | None = None) -> list[Tree]:
    """Every tree of a segmented cloud, by its id. ``ground``: in the cloud's frame, estimated where it is None."""
    ids = trees.tree_id.numpy()
    if len(ids) != len(cloud):
        raise PerceptionError(f"{len(ids)} tree ids", f"one for each of {len(cloud)} points")
    ground = ground or estimate_ground(cloud.xyz, largest_object=15.0)
    rows = np.flatnonzero(ids > 0)
    rows = rows[np.argsort(ids[rows], kind="stable")]
    ends = np.flatnonzero(np.diff(ids[rows])) + 1
    score = trees.tree_score.numpy()
    return [
        _measured(int(ids[part[0]]), cloud.xyz[part], cloud.origin, ground, float(score[part].mean(dtype=np.float64)))
        for part in np.split(rows, ends)
        if len(part)
    ]


def _measured(tree_id: int, xyz: np.ndarray, origin: np.ndarray, ground: Ground, score: float) -> Tree:
    xyz = xyz.astype(np.float64)
    above = xyz[:, 2] - ground.at(xyz[:, :2])
    stem = stem_at_breast_height(xyz[:, :2], above)
    foot = np.array([stem.x, stem.y]) if stem is not None else _foot(xyz, above)
    z = float(ground.at(foot[None])[0])
    area = hull_area(xyz[:, :2])
    occupied = len(np.unique(np.floor(xyz / VOXEL).astype(np.int64), axis=0))
    return Tree(
        tree_id,
        float(foot[0] + origin[0]),
        float(foot[1] + origin[1]),
        float(z + origin[2]),
        float(xyz[:, 2].max() - z),
        2 * float(np.sqrt(area / np.pi)),
        area,
        occupied * VOXEL**3,
        len(xyz),
        2 * stem.radius if stem is not None else float("nan"),
        stem.share if stem is not None else 0.0,
        score,
    )


def stem_at_breast_height(xy: np.ndarray, above: np.ndarray) -> Circle | None:
    """A sound circle through the points (N, 2) that lie about 1.3 m above the ground, if there is one.

    Where the slice there shows none, those 0.3 m above and below are tried.
    """
    for shift in (0.0, 0.3, -0.3):
        inside = np.abs(above - BREAST_HEIGHT - shift) <= HALF_SLICE
        circle = fit_circle(xy[inside])
        if circle is not None and circle.sound:
            return circle
    return None


def _foot(xyz: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Without a stem: the middle of what is below 3 m, if that is narrow; else what the highest tenth stands over."""
    low = xyz[above <= 3.0, :2]
    if len(low) >= 3 and (low.max(0) - low.min(0)).max() < 1.5:
        foot: np.ndarray = low.mean(0)
        return foot
    top = xyz[xyz[:, 2] >= np.quantile(xyz[:, 2], 0.9), :2]
    return np.asarray(top.mean(0))


def hull_area(xy: np.ndarray) -> float:
    """Area of the convex hull of points (N, 2); 0 for fewer than three and for points in line."""
    if len(xy) < 3:
        return 0.0
    try:
        return float(ConvexHull(xy).volume)
    except QhullError:  # points in line
        return 0.0
