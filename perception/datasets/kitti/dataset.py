"""The KITTI object benchmark in its published layout, boxes in the lidar frame.

Geiger, Lenz, Urtasun, "Are we ready for autonomous driving? The KITTI vision benchmark suite", CVPR 2012, and the
readme of its object development kit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.camera import CameraView
from perception.datasets.kitti.boxes import camera_to_lidar
from perception.datasets.kitti.calibration import KittiCalibration, read_object_calibration, read_road_plane
from perception.datasets.kitti.labels import KittiObjects, parse_label_lines
from perception.datasets.kitti.layout import choose_frames, read_png_size, scan_folder
from perception.datasets.kitti.text import read_text
from perception.datasets.sample import Objects, Sample
from perception.errors import PerceptionError
from perception.io.clouds import read_points
from perception.io.images import read_image
from perception.points import PointCloud

_FARTHEST = 100_000.0  # metres; numbers beyond would overflow float32 further on
_MINIMUM_HEIGHT = (40, 25, 25)
_MAXIMUM_OCCLUSION = (0, 1, 2)
_MAXIMUM_TRUNCATION = (0.15, 0.3, 0.5)


class KittiDetection:
    """Scans and labelled boxes of ``root/training`` or ``root/testing``.

    ``split``: "training" (every labelled scan), "testing", or the name of a list in ``root/ImageSets`` ("train",
    "val", ...); ``identifiers`` instead chooses frames by name. With ``camera_view`` only the points that project into
    image 2 are kept, for only objects in that image are labelled; the image's size comes from its PNG header, else
    1242 x 375 is assumed. Scans are taken from ``velodyne``, else from ``velodyne_reduced``. With ``image``
    samples have their ``view``, image 2, which then must be there.

    Raises PerceptionError when the layout is another one or a chosen frame is incomplete.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "training",
        identifiers: Iterable[str] | None = None,
        camera_view: bool = True,
        image: bool = False,
    ) -> None:
        self.root = Path(root)
        self.split = split
        self.camera_view = camera_view
        self.image = image
        self.folder = scan_folder(root, split)
        self.identifiers = choose_frames(root, split, self.folder, identifiers)

    def __len__(self) -> int:
        return len(self.identifiers)

    def __getitem__(self, index: int) -> Sample:
        calibration = self.calibration(index)
        cloud = self.cloud(index)
        if self.camera_view:
            cloud = cloud.select(calibration.in_camera_view(cloud.xyz))
        objects = label_objects(self.labels(index), calibration) if self.folder.labelled else None
        view = self.view(index) if self.image else None
        return Sample(self.identifiers[index], cloud, objects, calibration, view)

    def cloud(self, index: int) -> PointCloud:
        """The whole scan with the field ``intensity`` in [0, 1], whatever ``camera_view`` says."""
        return read_scan(self.folder.cloud_path(self.identifiers[index]))

    def labels(self, index: int) -> KittiObjects:
        """All lines of the frame's label file as they are, DontCare regions included: what the metric needs."""
        if not self.folder.labelled:
            raise PerceptionError(f"{self.folder.path} has no labels", "a split with label_2", "evaluate on training")
        path = self._path("label_2", ".txt", index)
        labels = parse_label_lines(read_text(path, "KITTI labels"), str(path))
        far = np.flatnonzero(np.any(np.abs(labels.camera_boxes()) > _FARTHEST, axis=1))
        if len(far):
            raise PerceptionError(
                f"{path}: {labels.names[far[0]]} at {labels.location[far[0]].tolist()}",
                f"places and sizes below {_FARTHEST:,.0f} m",
                "the file is damaged: download it again",
            )
        return labels

    def calibration(self, index: int) -> KittiCalibration:
        """The frame's calibration with its image size and, where ``planes`` has one, its road plane."""
        calibration = read_object_calibration(self._path("calib", ".txt", index))
        image, plane = self._path("image_2", ".png", index), self._path("planes", ".txt", index)
        if image.is_file():
            calibration = replace(calibration, image_size=read_png_size(image))
        if plane.is_file():
            calibration = replace(calibration, road_plane=read_road_plane(plane))
        return calibration

    def view(self, index: int) -> CameraView:
        """Image 2 of the frame, as seen from the whole scan."""
        calibration = self.calibration(index)
        image = read_image(self._path("image_2", ".png", index))
        return CameraView(image, calibration.lidar_to_rectified, calibration.projection)

    def _path(self, folder: str, suffix: str, index: int) -> Path:
        return self.folder.path / folder / f"{self.identifiers[index]}{suffix}"


def label_objects(labels: KittiObjects, calibration: KittiCalibration) -> Objects:
    """The labels that are objects (not DontCare) with boxes in the lidar frame, in the order of the labels.

    Attributes: ``difficulty`` (see ``label_difficulty``), ``truncation`` in [0, 1], ``occlusion`` 0 to 3,
    ``bbox`` (N, 4) left, top, right, bottom in pixels, ``alpha`` in radians.
    """
    keep = labels.names != "DontCare"
    boxes = camera_to_lidar(labels.camera_boxes()[keep], calibration)
    return Objects(
        Boxes3D(torch.from_numpy(boxes.astype(np.float32))),
        labels.names[keep],
        {
            "difficulty": label_difficulty(labels.bbox, labels.truncated, labels.occluded)[keep],
            "truncation": labels.truncated[keep],
            "occlusion": labels.occluded[keep],
            "bbox": labels.bbox[keep],
            "alpha": labels.alpha[keep],
        },
    )


def label_difficulty(bbox: np.ndarray, truncation: np.ndarray, occlusion: np.ndarray) -> np.ndarray:
    """Difficulty (N,) int64 of labels: 0 easy, 1 moderate, 2 hard, -1 harder; each object has only its easiest level.

    Limits on height in the image (bottom - top + 1 pixels), occlusion and truncation are those of the benchmark. The
    evaluation itself measures the height without the added pixel and counts easy objects as moderate ones too.
    """
    height = bbox[:, 3] - bbox[:, 1] + 1
    difficulty = np.full(len(bbox), -1, dtype=np.int64)
    for level in (2, 1, 0):
        within = (
            (height >= _MINIMUM_HEIGHT[level])
            & (occlusion <= _MAXIMUM_OCCLUSION[level])
            & (truncation <= _MAXIMUM_TRUNCATION[level])
        )
        difficulty[within] = level
    return difficulty


def read_scan(path: str | Path) -> PointCloud:
    """A Velodyne scan of KITTI (float32 x, y, z, reflectance) with its reflectance as ``intensity``."""
    return read_points(path, format="kitti")
