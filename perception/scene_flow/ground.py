"""Which points lie on the ground, where no map says so."""

from __future__ import annotations

import numpy as np

from perception.datasets.flow.pairs import with_ground
from perception.ground import estimate_ground
from perception.points import PointCloud
from perception.scan_pair import GROUND, ScanPair

NEAR_GROUND = 0.3  # metres, as Argoverse 2 has it
FAR = 100.0  # metres around the middle: beyond, stray points would stretch the grid


def ground_of(cloud: PointCloud, near: float = NEAR_GROUND) -> np.ndarray:
    """(N,) bool: less than ``near`` metres above the estimated ground, or beneath it; points without numbers are not.

    Real slopes within a cell are taken into account: the ground is interpolated between cells of 1 m.
    """
    known = np.isfinite(cloud.xyz).all(1)
    xyz = cloud.xyz[known]
    found = np.zeros(len(cloud), np.bool_)
    if not len(xyz):
        return found
    middle = np.median(xyz[:, :2], axis=0)
    core = xyz[(np.abs(xyz[:, :2] - middle) <= FAR).all(1)]
    found[known] = xyz[:, 2] <= estimate_ground(core).at(xyz[:, :2]) + near
    return found


def with_estimated_ground(cloud: PointCloud) -> PointCloud:
    """The cloud with a field ``ground``: its own where it has one, else estimated."""
    return cloud if GROUND in cloud.fields else with_ground(cloud, ground_of(cloud))


def pair_with_ground(pair: ScanPair) -> ScanPair:
    """The pair with a field ``ground`` in both clouds, estimated where they do not have one."""
    return ScanPair(with_estimated_ground(pair.first), with_estimated_ground(pair.second), pair.pose)
