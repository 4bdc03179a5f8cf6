"""Boxes of OpenPCDet and mmdet3d in the library's convention: the only place that knows how they write them.

OpenPCDet and mmdet3d from 1.0 on: centre, length width height, heading counter-clockwise from +x, as here. mmdet3d
before 1.0: centre, width length height and -heading - pi / 2. KITTI boxes of both are in the rectified camera frame,
sizes as length height width, y at the bottom. The lidar boxes that mmdet3d's models and pipelines pass on
(``LiDARInstance3DBoxes``), of either age, have z at the bottom.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from perception.datasets.kitti.boxes import wrap
from perception.datasets.kitti.labels import KittiObjects
from perception.errors import PerceptionError

Convention = Literal["auto", "length_first", "width_first"]
LONG = ("car", "truck", "bus", "trailer", "motorcycle", "bicycle")  # longer than wide


def lidar_boxes(boxes: np.ndarray, convention: Convention) -> np.ndarray:
    """x, y, z, length, width, height, heading (N, 7) of lidar boxes of an info file."""
    if not len(boxes):
        return np.zeros((0, 7))
    boxes = np.asarray(boxes, np.float64).reshape(len(boxes), -1)[:, :7]
    if convention == "width_first":
        return np.column_stack([boxes[:, :3], boxes[:, [4, 3, 5]], wrap(-boxes[:, 6] - np.pi / 2)])
    return boxes.copy()


def from_instances(rows: np.ndarray, convention: Convention) -> tuple[np.ndarray, np.ndarray | None]:
    """Boxes (N, 7) and velocities (N, 2), or None, of the rows (N, 7 or 9) of a ``LiDARInstance3DBoxes``."""
    rows = np.asarray(rows, np.float64)
    boxes = lidar_boxes(rows, convention)
    boxes[:, 2] += boxes[:, 5] / 2
    return boxes, rows[:, 7:9].copy() if rows.shape[1] >= 9 else None


def to_instances(boxes: np.ndarray, velocity: np.ndarray | None = None) -> np.ndarray:
    """Rows (N, 7), or (N, 9) with velocities, of a ``LiDARInstance3DBoxes`` of mmdet3d 1.x."""
    boxes = np.array(boxes, np.float64).reshape(-1, 7)
    boxes[:, 2] -= boxes[:, 5] / 2
    return boxes if velocity is None else np.column_stack([boxes, np.asarray(velocity, np.float64)])


def find_convention(boxes: np.ndarray, names: np.ndarray, where: str) -> Convention:
    """Which of the two conventions boxes (N, 7) are in: files of mmdet3d 0.x do not say, but vehicles are long."""
    long = np.isin(names, LONG)
    longer = float(np.mean(boxes[long, 3] > boxes[long, 4])) if long.any() else 0.5
    if 0.2 < longer < 0.8:
        raise PerceptionError(
            f"{where}: the first size is the longer one of {longer:.0%} of the {int(long.sum())} vehicles",
            "boxes as length, width, height or, before mmdet3d 1.0, as width, length, height",
            "pass convention: length_first or width_first",
        )
    return "length_first" if longer > 0.5 else "width_first"


def camera_objects(
    names: np.ndarray,
    boxes: np.ndarray,
    bbox: np.ndarray,
    truncated: np.ndarray,
    occluded: np.ndarray,
    alpha: np.ndarray,
) -> KittiObjects:
    """KITTI labels of ``boxes`` (N, 7): x, y, z, length, height, width, rotation_y in the camera frame."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 7)
    return KittiObjects(
        names=np.asarray(names, str),
        truncated=np.asarray(truncated, np.float64),
        occluded=np.asarray(occluded, np.float64).astype(np.int64),
        alpha=np.asarray(alpha, np.float64),
        bbox=np.asarray(bbox, np.float64).reshape(-1, 4),
        dimensions=boxes[:, [4, 5, 3]],
        location=boxes[:, :3],
        rotation_y=boxes[:, 6],
        score=np.full(len(boxes), np.nan),
    )
