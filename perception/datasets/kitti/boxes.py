"""Boxes between KITTI's camera convention and the library's lidar convention: the only place that knows both.

A KITTI camera box is x, y, z, length, height, width, rotation_y in rectified camera coordinates (x right, y down,
z forward), its origin at the centre of the box's **bottom** (the y of the label is the lowest point), rotation_y from
+x about +y (object development kit, readme.txt, "Data Format Description"). The rotation between the two frames is
taken as the ideal one for headings, as is usual for this benchmark: heading = -(rotation_y + pi / 2). All arithmetic
is float64.
"""

from __future__ import annotations

import numpy as np

from perception.datasets.kitti.calibration import KittiCalibration

NEAR = 0.1  # metres: what is nearer to the camera's plane projects to infinity

# The twelve edges of a box whose corners are numbered as in camera_corners.
_EDGES = np.array([[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7]])


def camera_to_lidar(boxes: np.ndarray, calibration: KittiCalibration) -> np.ndarray:
    """KITTI camera boxes (N, 7) as x, y, z, length, width, height, heading (N, 7) in the lidar frame."""
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 7)
    length, height, width = boxes[:, 3], boxes[:, 4], boxes[:, 5]
    centre = calibration.to_lidar(boxes[:, :3])
    centre[:, 2] += height / 2
    return np.column_stack([centre, length, width, height, wrap(-(boxes[:, 6] + np.pi / 2))])


def lidar_to_camera(boxes: np.ndarray, calibration: KittiCalibration) -> np.ndarray:
    """The inverse of ``camera_to_lidar``: x, y, z, length, height, width, rotation_y (N, 7), angle in [-pi, pi)."""
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 7)
    length, width, height = boxes[:, 3], boxes[:, 4], boxes[:, 5]
    bottom = boxes[:, :3].copy()
    bottom[:, 2] -= height / 2
    return np.column_stack([calibration.to_rectified(bottom), length, height, width, wrap(-boxes[:, 6] - np.pi / 2)])


def observation_angle(boxes: np.ndarray) -> np.ndarray:
    """Alpha (N,) of camera boxes (N, 7): rotation_y less the direction in which the camera sees the box."""
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 7)
    return wrap(boxes[:, 6] - np.arctan2(boxes[:, 0], boxes[:, 2]))


def camera_corners(boxes: np.ndarray) -> np.ndarray:
    """Corners (N, 8, 3) of camera boxes (N, 7): four around the bottom, then the four above them."""
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 7)
    along = boxes[:, 3, None] / 2 * np.array([1, 1, -1, -1, 1, 1, -1, -1])
    across = boxes[:, 5, None] / 2 * np.array([1, -1, -1, 1, 1, -1, -1, 1])
    up = boxes[:, 4, None] * np.array([0, 0, 0, 0, -1, -1, -1, -1])
    cos, sin = np.cos(boxes[:, 6, None]), np.sin(boxes[:, 6, None])
    corners = np.stack([cos * along + sin * across, up, -sin * along + cos * across], axis=-1)
    return corners + boxes[:, None, :3]


def image_boxes(boxes: np.ndarray, calibration: KittiCalibration) -> tuple[np.ndarray, np.ndarray]:
    """Rectangles left, top, right, bottom in pixels around camera boxes (N, 7): (clipped to the image, whole).

    Both (N, 4). Boxes that reach behind the camera are cut at its plane first. A clipped rectangle without area means
    that the box is not in the image; a box wholly behind the camera gives zeros in both.
    """
    corners = camera_corners(boxes)
    points = np.concatenate([corners, _cut_edges(corners)], axis=1)
    pixels, depth = calibration.project(points.reshape(-1, 3))
    pixels, in_front = pixels.reshape(*points.shape[:2], 2), (depth >= NEAR * (1 - 1e-9)).reshape(points.shape[:2])
    low = np.where(in_front[..., None], pixels, np.inf).min(axis=1, initial=np.inf)
    high = np.where(in_front[..., None], pixels, -np.inf).max(axis=1, initial=-np.inf)
    whole = np.where(np.any(in_front, axis=1, keepdims=True), np.concatenate([low, high], axis=1), 0.0)
    limit = np.array(calibration.image_size * 2) - 1.0
    return np.clip(whole, 0.0, limit), whole


def points_in_camera_boxes(points: np.ndarray, boxes: np.ndarray, calibration: KittiCalibration) -> np.ndarray:
    """(N, B) bool: lidar points (N, 3) inside camera boxes (B, 7), measured in the camera frame.

    Exact for KITTI labels, whose boxes stand upright in the camera frame, which is tilted against the lidar by about a
    degree; counts in the converted boxes can differ by the points at their faces.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 7)
    offset = calibration.to_rectified(points)[:, None] - boxes[:, :3]
    cos, sin = np.cos(boxes[:, 6]), np.sin(boxes[:, 6])
    along = np.abs(offset[..., 0] * cos - offset[..., 2] * sin) <= boxes[:, 3] / 2
    across = np.abs(offset[..., 0] * sin + offset[..., 2] * cos) <= boxes[:, 5] / 2
    return along & across & (offset[..., 1] <= 0) & (offset[..., 1] >= -boxes[:, 4])


def _cut_edges(corners: np.ndarray) -> np.ndarray:
    """Where edges cross the plane z = NEAR: (N, 12, 3); edges that do not cross repeat one of their corners."""
    start, end = corners[:, _EDGES[:, 0]], corners[:, _EDGES[:, 1]]
    crosses = (start[..., 2] < NEAR) != (end[..., 2] < NEAR)
    rise = np.where(crosses, end[..., 2] - start[..., 2], 1.0)
    share = np.where(crosses, (NEAR - start[..., 2]) / rise, 0.0)
    return start + share[..., None] * (end - start)


def wrap(angle: np.ndarray) -> np.ndarray:
    """Angles moved by full turns into [-pi, pi)."""
    return angle - np.floor(angle / (2 * np.pi) + 0.5) * (2 * np.pi)
