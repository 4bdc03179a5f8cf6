"""Which labels and results nuScenes' benchmark looks at: near ones, seen ones, and no bicycles in racks."""

from __future__ import annotations

import numpy as np

from perception.datasets.nuscenes.geometry import rotation_matrices
from perception.datasets.nuscenes.records import NuscenesBoxes

# Metres from the vehicle up to which a class is evaluated.
RANGES = {
    "car": 50.0,
    "truck": 50.0,
    "bus": 50.0,
    "trailer": 50.0,
    "construction_vehicle": 50.0,
    "pedestrian": 40.0,
    "motorcycle": 40.0,
    "bicycle": 40.0,
    "traffic_cone": 30.0,
    "barrier": 30.0,
}
PARKED_IN_RACKS = ("bicycle", "motorcycle")


def in_question(boxes: NuscenesBoxes, ego: np.ndarray, racks: NuscenesBoxes) -> np.ndarray:
    """(N,) bool: nearer than their class's range to ``ego`` (F, 3), not empty, and not centred in one of ``racks``."""
    away = boxes.translation[:, :2] - ego[boxes.frame, :2]
    limit = np.array([RANGES[name] for name in boxes.names.tolist()])
    kept = np.asarray((np.hypot(away[:, 0], away[:, 1]) < limit) & (boxes.points != 0))
    cycles = np.flatnonzero(kept & np.isin(boxes.names, PARKED_IN_RACKS))
    kept[cycles[_in_racks(boxes.select(cycles), racks)]] = False
    return kept


def _in_racks(boxes: NuscenesBoxes, racks: NuscenesBoxes) -> np.ndarray:
    """(N,) bool: the centre lies in a rack of the same frame, its faces included."""
    order = np.argsort(racks.frame, kind="stable")
    first, last = (np.searchsorted(racks.frame[order], boxes.frame, side) for side in ("left", "right"))
    box = np.repeat(np.arange(len(boxes)), last - first)
    within = np.arange(len(box)) - np.repeat(np.cumsum(last - first) - (last - first), last - first)
    rack = order[np.repeat(first, last - first) + within]
    offset = boxes.translation[box] - racks.translation[rack]
    local = np.einsum("nij,ni->nj", rotation_matrices(racks.rotation[rack]), offset)
    inside = (np.abs(local) <= racks.size[rack][:, [1, 0, 2]] / 2).all(1)
    found = np.zeros(len(boxes), bool)
    found[box[inside]] = True
    return found
