"""Objects and detections in the lidar frame as KITTI labels and results in the camera frame."""

from __future__ import annotations

import numpy as np

from perception.datasets.kitti.boxes import image_boxes, lidar_to_camera, observation_angle
from perception.datasets.kitti.calibration import KittiCalibration
from perception.datasets.kitti.labels import KittiObjects
from perception.datasets.sample import Objects
from perception.results import Detections


def detections_to_kitti(
    detections: Detections, calibration: KittiCalibration, only_visible: bool = True
) -> KittiObjects:
    """Results as the benchmark expects them, best first: truncation and occlusion -1, with ``score``.

    The 2D box is the rectangle around the projected corners, clipped to the image. The benchmark knows only objects in
    the image, so detections without any area in it are left out unless ``only_visible`` is False.
    """
    boxes = lidar_to_camera(detections.boxes.values.detach().cpu().double().numpy(), calibration)
    bbox, _ = image_boxes(boxes, calibration)
    unknown = np.full(len(boxes), -1)
    results = kitti_objects(
        np.array(detections.names, dtype=str),
        boxes,
        truncated=unknown.astype(np.float64),
        occluded=unknown,
        bbox=bbox,
        alpha=observation_angle(boxes),
        score=detections.scores.detach().cpu().double().numpy(),
    )
    return results.select(np.all(bbox[:, 2:] > bbox[:, :2], axis=1)) if only_visible else results


def objects_to_labels(objects: Objects, boxes: np.ndarray) -> KittiObjects:
    """Objects with the attributes of ``KittiDetection`` as labels; ``boxes`` (N, 7) are theirs in the camera frame."""
    return kitti_objects(
        objects.names,
        boxes,
        truncated=objects.attributes["truncation"],
        occluded=objects.attributes["occlusion"],
        bbox=objects.attributes["bbox"],
        alpha=objects.attributes["alpha"],
        score=np.full(len(objects), np.nan),
    )


def kitti_objects(
    names: np.ndarray,
    boxes: np.ndarray,
    *,
    truncated: np.ndarray,
    occluded: np.ndarray,
    bbox: np.ndarray,
    alpha: np.ndarray,
    score: np.ndarray,
) -> KittiObjects:
    """Labels or results from camera boxes (N, 7): x, y, z, length, height, width, rotation_y."""
    return KittiObjects(
        names=names,
        truncated=truncated,
        occluded=occluded,
        alpha=alpha,
        bbox=bbox,
        dimensions=boxes[:, [4, 5, 3]],
        location=boxes[:, :3],
        rotation_y=boxes[:, 6],
        score=score,
    )
