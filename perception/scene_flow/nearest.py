"""The plainest scene flow: after the ego motion every point goes to the nearest one of the second scan."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree

from perception.datasets.flow.pairs import MOVING_DISTANCE
from perception.results import SceneFlow
from perception.scan_pair import ScanPair, ground_mask
from perception.scene_flow.ground import pair_with_ground

FURTHEST = 2.0


def nearest_flow(pair: ScanPair, furthest: float = FURTHEST) -> SceneFlow:
    """Flow (N, 3) and moving (N,) of the first scan's points.

    Points on the ground, without numbers or without a neighbour within ``furthest`` metres have the ego motion alone.
    """
    pair = pair_with_ground(pair)
    flow = pair.ego_flow()
    moved = pair.moved()
    rows = np.flatnonzero(np.isfinite(moved).all(1) & ~ground_mask(pair.first))
    target = pair.second.xyz[np.isfinite(pair.second.xyz).all(1) & ~ground_mask(pair.second)].astype(np.float64)
    own = np.zeros_like(flow)
    if len(rows) and len(target):
        distance, row = cKDTree(target).query(moved[rows], distance_upper_bound=furthest)
        met = np.isfinite(distance)
        own[rows[met]] = target[row[met]] - moved[rows[met]]
    return SceneFlow(torch.from_numpy(flow + own), torch.from_numpy(np.linalg.norm(own, axis=1) >= MOVING_DISTANCE))
