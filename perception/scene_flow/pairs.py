"""Two clouds to a pair of scans that scene flow can be told of."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from perception.errors import PerceptionError
from perception.points import PointCloud
from perception.scan_pair import ScanPair
from perception.scene_flow.ego_motion import estimate_ego_motion

NEAR = 3.0
OVERLAP = 0.05


def make_pair(first: PointCloud, second: PointCloud, pose: np.ndarray | None = None) -> ScanPair:
    """A checked pair; without ``pose`` the ego motion is estimated from the scans.

    Raises PerceptionError where the second scan is older than the first, where points are not finite, where the scans
    do not overlap, and where the ego motion cannot be told.
    """
    if first.stamp is not None and second.stamp is not None and second.stamp < first.stamp:
        raise PerceptionError(
            f"the second scan's time ({second.stamp:.6f} s) is before the first one's ({first.stamp:.6f} s)",
            "scans in the order of time",
            "swap them",
        )
    for name, cloud in (("first", first), ("second", second)):
        wrong = int((~np.isfinite(cloud.xyz)).any(1).sum())
        if wrong:
            raise PerceptionError(
                f"{wrong:,} points of the {name} scan are not finite", "finite coordinates", "drop them"
            )
    if pose is None:
        if not len(first):
            return ScanPair(first, second)  # nothing is to be told, whatever the motion
        return ScanPair(first, second, estimate_ego_motion(first, second))
    pair = ScanPair(first, second, pose)
    if len(first) and len(second):
        _check_overlap(pair)
    return pair


def _check_overlap(pair: ScanPair) -> None:
    moved = pair.moved()
    thin = moved[:: max(len(moved) // 4000, 1)]
    distance, _ = cKDTree(pair.second.xyz).query(thin, distance_upper_bound=NEAR)
    share = float(np.isfinite(distance).mean())
    if share < OVERLAP:
        raise PerceptionError(
            f"by the pose only {share:.0%} of the first scan's points come within {NEAR:g} m of the second scan",
            "scans that overlap, and the motion from the first scan's frame to the second's",
            "check the pose: with poses in a map frame it is inverse(second) @ first, as --poses computes it",
        )
