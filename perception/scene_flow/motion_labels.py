"""What moves between two scans, and which points move together, told without labels: what SeFlow learns from.

SeFlow (Zhang et al., ECCV 2024) takes both from DUFOMap's free space and HDBSCAN over a whole drive. Here two scans are
enough: things are clusters, and one moves if iterated closest points say so (``icp_clusters``).
"""

from __future__ import annotations

import numpy as np

from perception.datasets.rigid import inverse
from perception.losses.seflow import STATIC, UNCLUSTERED
from perception.scan_pair import ScanPair
from perception.scene_flow.ground import pair_with_ground
from perception.scene_flow.icp_clusters import DEFAULTS, ClusterFlowConfig, cluster_motion


def motion_labels(pair: ScanPair, settings: ClusterFlowConfig = DEFAULTS) -> tuple[np.ndarray, np.ndarray]:
    """(N,) and (M,) int64 for the points of the first and of the second scan: 0 stands still, from 2 on the number of
    a cluster that moves; each scan is asked where it goes to in the other one."""
    pair = pair_with_ground(pair)
    back = ScanPair(pair.second, pair.first, inverse(pair.pose))
    return _labels(pair, settings), _labels(back, settings)


def _labels(pair: ScanPair, settings: ClusterFlowConfig) -> np.ndarray:
    found, thing = cluster_motion(pair, settings)
    moving = found.moving.numpy() & (thing >= 0)
    labels = np.full(len(thing), STATIC, np.int64)
    labels[moving] = np.unique(thing[moving], return_inverse=True)[1].reshape(-1) + UNCLUSTERED + 1
    return labels
