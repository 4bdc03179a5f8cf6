"""Overlaps of KITTI detections with labels, in the image, from above and in space."""

from __future__ import annotations

import numpy as np

from perception.datasets.kitti.labels import KittiObjects
from perception.geometry.clipping import intersection_matrix

METRICS = ("image", "bev", "3d")


def overlaps(detections: KittiObjects, labels: KittiObjects) -> dict[str, np.ndarray]:
    """Intersection over union (D, L) float64 under each name of ``METRICS``."""
    first, second = _ground_boxes(detections), _ground_boxes(labels)
    shared = intersection_matrix(first, second)
    area_first, area_second = first[:, 3] * first[:, 4], second[:, 3] * second[:, 4]
    height = _shared_height(detections, labels)
    volume_first, volume_second = area_first * first[:, 5], area_second * second[:, 5]
    return {
        "image": image_overlap(detections.bbox, labels.bbox),
        "bev": _ratio(shared, area_first[:, None] + area_second[None] - shared),
        "3d": _ratio(shared * height, volume_first[:, None] + volume_second[None] - shared * height),
    }


def image_overlap(first: np.ndarray, second: np.ndarray, of_first: bool = False) -> np.ndarray:
    """Intersection of rectangles (N, 4) and (M, 4) over their union, or over the area of the first: (N, M)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    area_first = (first[:, 2:] - first[:, :2]).prod(-1)[:, None]
    area_second = (second[:, 2:] - second[:, :2]).prod(-1)[None]
    union = area_first if of_first else area_first + area_second - shared
    return _ratio(shared, np.broadcast_to(union, shared.shape))


def _ground_boxes(objects: KittiObjects) -> np.ndarray:
    """Boxes on the camera's x-z plane as rows x y z length width height heading; rotation_y turns from x towards -z."""
    x, z = objects.location[:, 0], objects.location[:, 2]
    height, width, length = objects.dimensions.T
    return np.ascontiguousarray(
        np.column_stack([x, z, np.zeros(len(x)), length, width, height, -objects.rotation_y]), dtype=np.float64
    )


def _shared_height(first: KittiObjects, second: KittiObjects) -> np.ndarray:
    """Common extent along y, which points down: a box reaches from its location up by its height."""
    bottom = np.minimum(first.location[:, None, 1], second.location[None, :, 1])
    top_first = first.location[:, 1] - first.dimensions[:, 0]
    top_second = second.location[:, 1] - second.dimensions[:, 0]
    return np.clip(bottom - np.maximum(top_first[:, None], top_second[None]), 0, None)


def _ratio(shared: np.ndarray, union: np.ndarray) -> np.ndarray:
    return np.divide(shared, union, out=np.zeros_like(shared), where=(shared > 0) & (union > 0))
