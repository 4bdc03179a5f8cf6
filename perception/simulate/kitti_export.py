"""A generated street in the layout of the KITTI object benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from perception.datasets.kitti.boxes import image_boxes, lidar_to_camera, observation_angle
from perception.datasets.kitti.calibration import KittiCalibration
from perception.datasets.kitti.labels import format_label_lines
from perception.datasets.kitti.results import objects_to_labels
from perception.datasets.sample import Objects, Sample
from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.io.writers import write_points
from perception.points import PointCloud
from perception.simulate.dataset import CAMERA_POSITION

# Focal length and centre of KITTI's rectified images; the camera stands straight and beside nothing.
_FOCAL, _CENTRE = 721.5377, (609.5593, 172.854)
CALIBRATION = KittiCalibration(
    projection=np.array([[_FOCAL, 0, _CENTRE[0], 0], [0, _FOCAL, _CENTRE[1], 0], [0, 0, 1.0, 0]]),
    rectification=np.eye(3),
    lidar_to_camera=np.array([[0, -1.0, 0, 0], [0, 0, -1, CAMERA_POSITION[1]], [1, 0, 0, -CAMERA_POSITION[0]]]),
)


def write_kitti_frame(sample: Sample, name: str, folder: Path) -> None:
    """Scan, calibration and, last, labels of the objects that the camera sees, into the folders of ``training``."""
    objects = sample.objects
    if objects is None:
        raise PerceptionError("a street without objects", "a sample with labels")
    cloud = PointCloud(sample.cloud.xyz, {"intensity": sample.cloud.fields["intensity"]})
    write_points(folder / "velodyne" / f"{name}.bin", cloud)
    with write_atomically(folder / "calib" / f"{name}.txt", "w") as handle:
        handle.write(calibration_text(CALIBRATION))
    with write_atomically(folder / "label_2" / f"{name}.txt", "w") as handle:
        handle.write(label_text(objects, CALIBRATION))


def label_text(objects: Objects, calibration: KittiCalibration) -> str:
    """Lines of the objects in the image, with the truncation that the image's border makes."""
    boxes = lidar_to_camera(objects.boxes.values.numpy().astype(np.float64), calibration)
    inside, whole = image_boxes(boxes, calibration)
    area, full = (np.prod(np.maximum(b[:, 2:] - b[:, :2], 0), axis=1) for b in (inside, whole))
    seen = (area > 0) & (boxes[:, 2] > 0)
    attributes = {
        "truncation": 1 - area / np.maximum(full, 1e-9),
        "occlusion": objects.attributes["occlusion"],
        "bbox": inside,
        "alpha": observation_angle(boxes),
    }
    visible = Objects(objects.boxes, objects.names, attributes).select(seen)
    return format_label_lines(objects_to_labels(visible, boxes[seen]))


def calibration_text(calibration: KittiCalibration) -> str:
    """The file of one frame; the other cameras stand where image 2 is taken."""
    entries = {f"P{camera}": calibration.projection for camera in range(4)}
    entries |= {"R0_rect": calibration.rectification, "Tr_velo_to_cam": calibration.lidar_to_camera}
    entries["Tr_imu_to_velo"] = np.eye(4)[:3]
    return "".join(f"{key}: {' '.join(f'{v:.12e}' for v in matrix.ravel())}\n" for key, matrix in entries.items())
