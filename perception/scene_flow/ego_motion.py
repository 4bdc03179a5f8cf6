"""The sensor's own motion between two scans, from the scans alone: generalised ICP, coarse, then fine.

Koide, "small_gicp: Efficient and parallel algorithms for point cloud registration", JOSS 2024; Segal et al., RSS 2009.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from perception.errors import PerceptionError, missing_extra
from perception.points import PointCloud
from perception.scene_flow.ground import ground_of

STAGES = ((1.0, 5.0), (0.5, 2.0), (0.3, 0.8))  # metres: size of the thinning cells, furthest correspondence
OVERLAP = 0.5  # of the first scan's points above the ground must find a neighbour; flat ground fits any other
NEAR = 0.5
FEWEST = 100


def estimate_ego_motion(first: PointCloud, second: PointCloud, initial: np.ndarray | None = None) -> np.ndarray:
    """The rigid motion (4, 4) float64 that takes points of the first scan's frame to the second's.

    ``initial``: a first guess, as the motion of the pair before; without one the sensor went at most about 5 m. Raises
    PerceptionError where the scans are too small, or do not overlap enough to tell.
    """
    if np.array_equal(first.xyz, second.xyz) and np.array_equal(first.origin, second.origin):
        return np.eye(4)
    try:
        import small_gicp
    except ImportError:
        raise missing_extra("small_gicp", "flow") from None
    shift = first.origin - second.origin
    source, target = (cloud.xyz[np.isfinite(cloud.xyz).all(1)].astype(np.float64) for cloud in (first, second))
    if min(len(source), len(target)) < FEWEST:
        raise PerceptionError(
            f"scans of {len(source)} and {len(target)} points",
            f"{FEWEST} or more to find the ego motion",
            "give --pose",
        )
    # About the first cloud's origin, where coordinates are small; at the end about the common one.
    target = target - shift
    motion = np.eye(4) if initial is None else _about(np.asarray(initial, np.float64), first.origin)
    for cell, furthest in STAGES:
        thin_target, tree = small_gicp.preprocess_points(target, downsampling_resolution=cell)
        thin_source, _ = small_gicp.preprocess_points(source, downsampling_resolution=cell)
        found = small_gicp.align(
            thin_target, thin_source, tree, motion, max_correspondence_distance=furthest, max_iterations=30
        )
        motion = np.asarray(found.T_target_source)
    above = [xyz[~ground_of(PointCloud(xyz))] for xyz in (source, target)]
    first_part, second_part = above if min(map(len, above)) >= FEWEST else (source, target)
    _check_overlap(first_part, second_part, motion)
    return _about(motion, -first.origin)


def _check_overlap(source: np.ndarray, target: np.ndarray, motion: np.ndarray) -> None:
    thin = source[:: max(len(source) // 5000, 1)]
    distance, _ = cKDTree(target).query(thin @ motion[:3, :3].T + motion[:3, 3], distance_upper_bound=NEAR)
    share = float(np.isfinite(distance).mean())
    if not np.isfinite(motion).all() or share < OVERLAP:
        raise PerceptionError(
            f"after alignment only {share:.0%} of the first scan's points are near points of the second",
            "scans of the same place, at most a few metres apart",
            "check their order, or give the motion with --pose or --poses",
        )


def _about(motion: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The same motion told for coordinates relative to ``origin``."""
    moved = motion.copy()
    moved[:3, 3] = motion[:3, :3] @ origin + motion[:3, 3] - origin
    return moved
