"""True scene flow from labelled boxes: what lies in a box moves as the box does, all else as the sensor's motion says.

As Argoverse 2 defines its labels (Wilson et al. 2021; av2-api's ``Flow.from_sweep_pair``), for any data set of boxes
with tracks. Jund et al., "Scalable Scene Flow from Point Clouds in the Real World", RA-L 2022, do the same for Waymo.
"""

from __future__ import annotations

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.datasets.flow.classes import category_number
from perception.datasets.flow.pairs import MOVING_DISTANCE, FlowLabels
from perception.datasets.rigid import inverse
from perception.datasets.sample import Objects
from perception.geometry import points_in_boxes
from perception.scan_pair import ScanPair

DILATION = 0.2
"""Metres that boxes are longer and wider by than annotated: they are a little too tight for their points."""


def box_labels(pair: ScanPair, first: Objects, second: Objects, dilation: float = DILATION) -> FlowLabels:
    """Labels of the first scan's points; objects have the attribute ``track`` and lie in the frames of their scans.

    A point in several boxes belongs to the last of them, as published. Points of objects that the second scan has no
    box of are not valid; their flow is that of the ego motion.
    """
    boxes, later = first.boxes.values.double().numpy(), second.boxes.values.double().numpy()
    tracks = first.attributes["track"].astype(str)
    row_of = {track: row for row, track in enumerate(second.attributes["track"].astype(str).tolist())}
    partner = np.array([row_of.get(track, -1) for track in tracks.tolist()], np.int64)
    ego = pair.ego_flow()
    wider = boxes + np.array([0, 0, 0, dilation, dilation, 0, 0])
    xyz = pair.first.world()
    inside = points_in_boxes(torch.from_numpy(xyz), torch.from_numpy(wider)).numpy()
    known = partner >= 0
    box, mover = _last(inside), _last(inside & known)
    valid = np.asarray(~(inside & ~known).any(1))
    flow, rows = ego.copy(), mover >= 0
    motions = box_poses(later)[partner] @ np.stack([inverse(p) for p in box_poses(boxes)]) if len(later) else None
    if motions is not None and rows.any():
        own = motions[mover[rows]]
        flow[rows] = (np.einsum("nij,nj->ni", own[:, :3, :3], xyz[rows]) + own[:, :3, 3] - xyz[rows]).astype(np.float32)
    moving = np.asarray(np.linalg.norm(flow - ego, axis=1) >= MOVING_DISTANCE)
    number = np.array([0, *(category_number(str(name)) for name in first.names)], np.uint8)
    return FlowLabels(flow, moving, valid, number[box + 1], box, tracks)


def box_poses(boxes: np.ndarray) -> np.ndarray:
    """Poses (N, 4, 4) of the frames of boxes (N, 7): origin at the centre, x along the heading."""
    poses = np.tile(np.eye(4), (len(boxes), 1, 1))
    cos, sin = np.cos(boxes[:, 6]), np.sin(boxes[:, 6])
    poses[:, 0, 0], poses[:, 0, 1], poses[:, 1, 0], poses[:, 1, 1] = cos, -sin, sin, cos
    poses[:, :3, 3] = boxes[:, :3]
    return poses


def moved_objects(objects: Objects, pose: np.ndarray) -> Objects:
    """Objects in another frame, by a rigid motion (4, 4); roll and pitch of the motion tilt no box.

    Velocities are turned too.
    """
    boxes = objects.boxes.values.double().numpy().copy()
    boxes[:, :3] = boxes[:, :3] @ pose[:3, :3].T + pose[:3, 3]
    ahead = np.column_stack([np.cos(boxes[:, 6]), np.sin(boxes[:, 6])]) @ pose[:2, :2].T
    boxes[:, 6] = np.arctan2(ahead[:, 1], ahead[:, 0])
    speed = objects.boxes.velocity
    if speed is not None:
        speed = speed @ torch.from_numpy(pose[:2, :2].T).to(speed)
    return Objects(Boxes3D(torch.from_numpy(boxes), speed), objects.names, objects.attributes)


def _last(inside: np.ndarray) -> np.ndarray:
    """(N,) int32: the last box of each row of (N, B) bool, or -1."""
    if not inside.shape[1]:
        return np.full(len(inside), -1, np.int32)
    last = inside.shape[1] - 1 - inside[:, ::-1].argmax(1)
    return np.where(inside.any(1), last, -1).astype(np.int32)
