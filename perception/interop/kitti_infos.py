"""KITTI by the info files of OpenPCDet (``kitti_infos_train.pkl``) and mmdet3d (0.x, and 1.x with ``metainfo`` and
``data_list``), the scans by the data set's published layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perception.datasets.kitti.calibration import DEFAULT_IMAGE_SIZE, KittiCalibration
from perception.datasets.kitti.dataset import label_objects, read_scan
from perception.datasets.kitti.labels import KittiObjects
from perception.datasets.sample import Sample
from perception.errors import PerceptionError
from perception.interop.info_boxes import camera_objects
from perception.interop.info_files import class_names, read_info_file


class KittiInfos:
    """The frames of an info file, as ``KittiDetection`` would give them: identifiers of six digits, boxes in the lidar
    frame, only points in the image with ``camera_view``.

    ``infos`` is the file, relative to ``root`` or absolute; scans lie in ``root``. Raises PerceptionError for other
    files and for keys that are missing.
    """

    def __init__(self, root: str | Path, infos: str | Path, camera_view: bool = True) -> None:
        self.root, self.path, self.camera_view = Path(root), Path(root) / infos, camera_view
        self._infos, self._classes = _layout(self.path)
        self.frames = [self._frame(number, info) for number, info in enumerate(self._infos)]
        del self._infos

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        frame = self.frames[index]
        cloud = read_scan(self._scan(frame))
        if self.camera_view:
            cloud = cloud.select(frame.calibration.in_camera_view(cloud.xyz))
        objects = None if frame.labels is None else label_objects(frame.labels, frame.calibration)
        return Sample(frame.identifier, cloud, objects, frame.calibration)

    @property
    def identifiers(self) -> list[str]:
        return [frame.identifier for frame in self.frames]

    def labels(self, index: int) -> KittiObjects:
        """All labels of a frame, DontCare regions included: what the metric needs."""
        labels = self.frames[index].labels
        if labels is None:
            raise PerceptionError(f"{self.path} has no labels", "infos of a labelled split", "evaluate on train or val")
        return labels

    def _frame(self, number: int, info: Mapping[str, Any]) -> _Frame:
        try:
            return _parse_1(info, self._classes) if "lidar_points" in info else _parse_0(info)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise PerceptionError(
                f"{self.path}, frame {number}: {type(error).__name__} {error}",
                "the keys of an OpenPCDet or mmdet3d info",
                "make the info file again",
            ) from None

    def _scan(self, frame: _Frame) -> Path:
        splits = ("testing", "training") if frame.labels is None else ("training", "testing")
        places = [self.root / split / kind / f"{frame.identifier}.bin" for split in splits for kind in _FOLDERS]
        return next((place for place in places if place.is_file()), places[0])


_FOLDERS = ("velodyne", "velodyne_reduced")


@dataclass(frozen=True, eq=False)
class _Frame:
    identifier: str
    calibration: KittiCalibration
    labels: KittiObjects | None


def _layout(path: Path) -> tuple[list[Mapping[str, Any]], dict[int, str]]:
    """The frames of the file, and the names of its class numbers."""
    content = read_info_file(path)
    frames, classes = content, {}
    if isinstance(content, dict) and "data_list" in content:
        frames, classes = content["data_list"], class_names(content, path)
    good = isinstance(frames, list) and all(
        isinstance(f, dict) and ("calib" in f or "Tr_velo_to_cam" in f.get("lidar_points", ())) for f in frames
    )
    if not good:
        raise PerceptionError(
            f"{path} is no list of KITTI infos",
            "kitti_infos_*.pkl of OpenPCDet or mmdet3d",
            "a nuScenes info file belongs to the data set nuscenes_infos",
        )
    return frames, classes


def _parse_0(info: Mapping[str, Any]) -> _Frame:
    """OpenPCDet and mmdet3d 0.x: matrices (4, 4) and arrays of annotations."""
    points, calib, image = info["point_cloud"], info["calib"], info["image"]
    number = points["lidar_idx"] if "lidar_idx" in points else Path(points["velodyne_path"]).stem
    height, width = (int(v) for v in image["image_shape"]) if "image_shape" in image else DEFAULT_IMAGE_SIZE[::-1]
    calibration = _calibration(calib["P2"], calib["R0_rect"], calib["Tr_velo_to_cam"], (width, height))
    found = info.get("annos")
    if found is None:
        return _Frame(_identifier(number), calibration, None)
    boxes = np.column_stack([found["location"], found["dimensions"], found["rotation_y"]])
    columns = [found[key] for key in ("bbox", "truncated", "occluded", "alpha")]
    return _Frame(_identifier(number), calibration, camera_objects(found["name"], boxes, *columns))


def _parse_1(info: Mapping[str, Any], classes: Mapping[int, str]) -> _Frame:
    """mmdet3d 1.x: lists, one dict an instance; numbers without a name are DontCare regions."""
    lidar, images = info["lidar_points"], info["images"]
    image = images["CAM2"]
    size = (int(image.get("width", DEFAULT_IMAGE_SIZE[0])), int(image.get("height", DEFAULT_IMAGE_SIZE[1])))
    calibration = _calibration(image["cam2img"], images["R0_rect"], lidar["Tr_velo_to_cam"], size)
    identifier = _identifier(Path(lidar["lidar_path"]).stem)
    found = info.get("instances")
    if found is None:
        return _Frame(identifier, calibration, None)
    names = np.array([classes.get(int(i["bbox_label_3d"]), "DontCare") for i in found], str)
    boxes = np.array([i["bbox_3d"] for i in found], np.float64).reshape(-1, 7)
    columns = [np.array([i[key] for i in found], np.float64) for key in ("bbox", "truncated", "occluded", "alpha")]
    return _Frame(identifier, calibration, camera_objects(names, boxes, *columns))


def _calibration(projection: Any, rectification: Any, to_camera: Any, size: tuple[int, int]) -> KittiCalibration:
    matrices = [np.asarray(m, np.float64) for m in (projection, rectification, to_camera)]
    return KittiCalibration(matrices[0][:3, :4], matrices[1][:3, :3], matrices[2][:3, :4], size)


def _identifier(number: Any) -> str:
    text = str(number)
    if not text.isdigit() or len(text) > 10:
        raise ValueError(f"the scan {text[:40]!r} is not named by its number")
    return f"{int(text):06d}"
