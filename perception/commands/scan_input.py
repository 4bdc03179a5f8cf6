"""One scan as a command hands it to a model: points, and calibration, image and mounting where there are any."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from perception.camera import CameraView
from perception.commands.inputs import Input
from perception.datasets.kitti.calibration import KittiCalibration, read_object_calibration
from perception.errors import PerceptionError
from perception.io.clouds import read_points
from perception.io.images import read_image
from perception.models.detector import Detector
from perception.mounting import AS_IT_IS, Mounting, mounting_of
from perception.points import PointCloud

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Scan:
    """A file that has been read."""

    item: Input
    cloud: PointCloud
    calibration: KittiCalibration | None = None
    view: CameraView | None = None
    mounting: Mounting = AS_IT_IS


def mounted(scan: Scan, model: Detector) -> Scan:
    """The scan with what takes it to the height at which the model knows the ground.

    With a calibration the sensor is the benchmark's own: nothing is moved.
    """
    return scan if scan.calibration is not None else replace(scan, mounting=mounting_of(scan.cloud, model))


def read_scan(item: Input, input_format: str | None, calib: Path | None, images: Path | None) -> Scan:
    """Read a cloud and what belongs to it: with a calibration only the points that the camera sees are kept.

    ``calib`` and ``images`` are a file, or a folder with one of the cloud's name.
    """
    calibration = _calibration(calib, item.path)
    view = None
    if images is not None:
        assert calibration is not None
        image = read_image(_image_path(images, item.path))
        calibration = replace(calibration, image_size=(image.shape[2], image.shape[1]))
        view = CameraView(image, calibration.lidar_to_rectified, calibration.projection)
    cloud = read_points(item.path, format=input_format)
    if calibration is not None:
        cloud = cloud.select(calibration.in_camera_view(cloud.world()))
    return Scan(item, cloud, calibration, view)


def _calibration(given: Path | None, cloud: Path) -> KittiCalibration | None:
    if given is None:
        return None
    return read_object_calibration(given / f"{cloud.stem}.txt" if given.is_dir() else given)


def _image_path(given: Path, cloud: Path) -> Path:
    if not given.is_dir():
        return given
    for suffix in IMAGE_SUFFIXES:
        path = given / f"{cloud.stem}{suffix}"
        if path.is_file():
            return path
    raise PerceptionError(f"no image {cloud.stem} in {given}", f"{cloud.stem}{IMAGE_SUFFIXES[0]}", "check --images")
