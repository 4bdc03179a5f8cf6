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
    return measured_tree(tree_id, xyz + origin, above, len(xyz), float(xyz[:, 2].max() + origin[2]), score)


def measured_tree(tree_id: int, world: np.ndarray, above: np.ndarray, points: int, top: float, score: float) -> Tree:
    """One tree from points (N, 3) float64 that stand for it and their heights ``above`` the ground (N,).

    ``points`` and ``top``: how many it has, and its highest z, where those given are a thinned part of them.
    """
    origin = np.floor(world.mean(0))
    xyz = world - origin
    stem = stem_at_breast_height(xyz[:, :2], above)
    foot = np.array([stem.x, stem.y]) if stem is not None else _foot(xyz, above)
    beneath = int(((xyz[:, :2] - foot) ** 2).sum(1).argmin())
    z = world[beneath, 2] - above[beneath]
    area = hull_area(xyz[:, :2])
    occupied = len(np.unique(np.floor(world / VOXEL).astype(np.int64), axis=0))
    return Tree(
        tree_id,
        float(foot[0] + origin[0]),
        float(foot[1] + origin[1]),
        float(z),
        float(top - z),
        2 * float(np.sqrt(area / np.pi)),
        area,
        occupied * VOXEL**3,
        points,
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
    """Without a circle: the middle of what is below 3 m, if most of it is close; else what the top tenth is over."""
    low = xyz[(above >= 0.3) & (above <= 3.0), :2]
    if len(low) >= 10:
        middle: np.ndarray = np.median(low, 0)
        if np.median(np.hypot(*(low - middle).T)) < 0.5:
            return middle
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
