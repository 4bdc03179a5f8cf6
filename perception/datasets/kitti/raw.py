"""KITTI raw drives (synced and rectified) with their tracklets: samples like those of the object benchmark.

Layout: <date>/<drive>_sync/{velodyne_points/data,oxts/data,tracklet_labels.xml} with the calibration files in <date>.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.datasets.kitti.boxes import image_boxes, lidar_to_camera, observation_angle
from perception.datasets.kitti.calibration import read_raw_calibration, read_rigid_transform
from perception.datasets.kitti.dataset import label_difficulty, read_scan
from perception.datasets.kitti.labels import KittiObjects
from perception.datasets.kitti.oxts import oxts_poses, read_oxts, read_timestamps
from perception.datasets.kitti.results import objects_to_labels
from perception.datasets.kitti.tracklets import read_tracklets
from perception.datasets.sample import Objects, Sample
from perception.errors import PerceptionError
from perception.points import PointCloud

LAYOUT = "<date>/<date>_drive_<number>_sync/velodyne_points/data/*.bin, with calib_*.txt in <date>/"
_UNKNOWN_OCCLUSION = 3


class KittiRawDrive:
    """The scans of one drive folder (``.../2011_09_26/2011_09_26_drive_0001_sync``) as samples.

    Objects carry the attributes of ``KittiDetection`` and ``track`` (number of the tracklet), ``state`` and
    ``image_state`` (the tracklet's own truncation code). What the tracklets do not say is derived by projecting the
    boxes: ``bbox``, ``alpha``, ``truncation`` (the share of the projected box's area that is outside the image) and
    from these and the tracklet's occlusion the ``difficulty``; unset occlusion counts as unknown (3, never easier than
    hard), and objects out of the image get -1. With ``camera_view`` both the points and the objects out of the image
    are left out. ``objects`` is None for drives without tracklets.

    ``cloud.stamp`` is in seconds since 1970; ``cloud.metadata["pose"]`` is ``pose(index)`` for scans
    with a GPS/IMU record.
    """

    def __init__(self, folder: str | Path, camera_view: bool = True) -> None:
        self.folder = Path(folder)
        self.camera_view = camera_view
        scans = self.folder / "velodyne_points" / "data"
        self._scans = dict(sorted((int(p.stem), p) for p in scans.glob("*.bin") if p.stem.isdecimal()))
        self.frames = tuple(self._scans)
        if not self.frames:
            raise PerceptionError(f"no scans in {scans}", LAYOUT, "pass the folder of one drive, or use KittiRaw")
        self.calibration = read_raw_calibration(self.folder.parent)
        labels = self.folder / "tracklet_labels.xml"
        self.tracklets = read_tracklets(labels) if labels.is_file() else None

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        cloud = self.cloud(index)
        if self.camera_view:
            cloud = cloud.select(self.calibration.in_camera_view(cloud.xyz))
        objects = None if self.tracklets is None else self._objects(index)[1]
        return Sample(self.identifier(index), cloud, objects, self.calibration)

    def identifier(self, index: int) -> str:
        return f"{self.folder.name}/{self.frames[index]:010d}"

    def cloud(self, index: int) -> PointCloud:
        """The whole scan with ``intensity``, its time stamp and its pose, whatever ``camera_view`` says."""
        cloud = read_scan(self._scans[self.frames[index]])
        metadata = dict(cloud.metadata)
        if self.has_pose(index):
            metadata["pose"] = self.pose(index)
        return PointCloud(cloud.xyz, cloud.fields, stamp=self.stamp(index), dropped=cloud.dropped, metadata=metadata)

    def labels(self, index: int) -> KittiObjects:
        """The frame's objects as KITTI labels: the same rows as ``self[index].objects``."""
        if self.tracklets is None:
            raise PerceptionError(f"{self.folder} has no tracklet_labels.xml", "a labelled drive")
        camera, objects = self._objects(index)
        return objects_to_labels(objects, camera)

    def stamp(self, index: int) -> float | None:
        """Seconds since 1970 when the scanner faced forward, None where the drive does not tell."""
        if self._stamps is None:
            return None
        # One line a frame number, missing scans included; a cut-out drive may keep only the lines of its scans.
        by_number = self.frames[-1] < len(self._stamps) or len(self._stamps) != len(self)
        line = self.frames[index] if by_number else index
        stamp = self._stamps[line] if line < len(self._stamps) else np.nan
        return None if np.isnan(stamp) else float(stamp)

    def has_pose(self, index: int) -> bool:
        """Whether the scan has a GPS/IMU record and the day a calibration for it."""
        recorded = self._imu_poses is not None and self.frames[index] in self._imu_poses
        return recorded and (self.folder.parent / "calib_imu_to_velo.txt").is_file()

    def imu_pose(self, index: int) -> np.ndarray:
        """Pose (4, 4) float64 of the GPS/IMU unit in its own frame at the drive's first record."""
        if self._imu_poses is None or self.frames[index] not in self._imu_poses:
            raise PerceptionError(
                f"{self.folder} has no oxts/data/{self.frames[index]:010d}.txt", "a GPS/IMU record for every scan"
            )
        return self._imu_poses[self.frames[index]]

    def pose(self, index: int) -> np.ndarray:
        """Pose (4, 4) float64 of the lidar in its own frame at the drive's first GPS/IMU record."""
        imu_to_lidar = read_rigid_transform(self.folder.parent / "calib_imu_to_velo.txt")
        return imu_to_lidar @ self.imu_pose(index) @ np.linalg.inv(imu_to_lidar)

    @cached_property
    def _imu_poses(self) -> dict[int, np.ndarray] | None:
        paths = sorted(p for p in (self.folder / "oxts" / "data").glob("*.txt") if p.stem.isdecimal())
        if not paths:
            return None
        poses = oxts_poses(np.stack([read_oxts(path) for path in paths]))
        return {int(path.stem): pose for path, pose in zip(paths, poses)}

    @cached_property
    def _stamps(self) -> np.ndarray | None:
        path = self.folder / "velodyne_points" / "timestamps.txt"
        return read_timestamps(path) if path.is_file() else None

    def _objects(self, index: int) -> tuple[np.ndarray, Objects]:
        """Camera boxes (N, 7) float64, and the same objects in the lidar frame."""
        frame = self.frames[index]
        seen = [(track, t, row) for track, t in enumerate(self.tracklets or ()) if (row := t.row(frame)) is not None]
        boxes = np.array([t.boxes[row] for _, t, row in seen]).reshape(-1, 7)
        camera = lidar_to_camera(boxes, self.calibration)
        bbox, whole = image_boxes(camera, self.calibration)
        occlusion = np.array([t.occlusion[row] for _, t, row in seen], dtype=np.int64)
        occlusion = np.where(occlusion < 0, _UNKNOWN_OCCLUSION, occlusion)
        visible = _area(bbox) > 0
        truncation = 1 - np.divide(_area(bbox), _area(whole), out=np.zeros(len(bbox)), where=visible)
        objects = Objects(
            Boxes3D(torch.from_numpy(boxes.astype(np.float32))),
            np.array([t.name for _, t, _ in seen], dtype=str),
            {
                "difficulty": np.where(visible, label_difficulty(bbox, truncation, occlusion), -1),
                "truncation": truncation,
                "occlusion": occlusion,
                "bbox": bbox,
                "alpha": observation_angle(camera),
                "track": np.array([track for track, _, _ in seen], dtype=np.int64),
                "state": np.array([t.state[row] for _, t, row in seen], dtype=np.int64),
                "image_state": np.array([t.truncation[row] for _, t, row in seen], dtype=np.int64),
            },
        )
        return (camera[visible], objects.select(visible)) if self.camera_view else (camera, objects)


class KittiRaw:
    """All scans of several raw drives as one data set.

    ``root`` is a drive folder, a date folder or the folder of all dates; ``drives`` chooses drive folders by name.
    ``labelled`` leaves drives without tracklets out. The order is that of the drives' names, then of time.
    """

    def __init__(
        self,
        root: str | Path,
        drives: Iterable[str] | None = None,
        camera_view: bool = True,
        labelled: bool = False,
    ) -> None:
        folders = {path.parent.name: path.parent for path in _drive_folders(Path(root))}
        wanted = sorted(folders) if drives is None else list(drives)
        absent = [name for name in wanted if name not in folders]
        if absent or not wanted:
            raise PerceptionError(
                f"{root} has no drive {absent[0]!r}" if absent else f"{root} has no raw drives",
                f"the published layout: {LAYOUT}",
                f"drives found: {', '.join(sorted(folders)[:10]) or 'none'}",
            )
        if labelled:
            wanted = [name for name in wanted if (folders[name] / "tracklet_labels.xml").is_file()]
        if not wanted:
            raise PerceptionError(
                f"no drive in {root} has a tracklet_labels.xml", "labelled drives", "unpack tracklets"
            )
        self.drives = tuple(KittiRawDrive(folders[name], camera_view) for name in wanted)
        self._ends = np.cumsum([len(drive) for drive in self.drives])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Sample:
        drive, frame = self.locate(index)
        return drive[frame]

    def labels(self, index: int) -> KittiObjects:
        """As ``KittiRawDrive.labels``."""
        drive, frame = self.locate(index)
        return drive.labels(frame)

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Names of all samples, without reading them."""
        return tuple(drive.identifier(index) for drive in self.drives for index in range(len(drive)))

    def locate(self, index: int) -> tuple[KittiRawDrive, int]:
        """The drive of a sample and its index in that drive."""
        index = range(len(self))[index]
        number = int(np.searchsorted(self._ends, index, side="right"))
        return self.drives[number], index - int(self._ends[number]) + len(self.drives[number])


def _drive_folders(root: Path) -> Iterable[Path]:
    for pattern in ("velodyne_points", "*/velodyne_points", "*/*/velodyne_points"):
        found = [path for path in root.glob(pattern) if path.is_dir()]
        if found:
            return found
    return []


def _area(rectangles: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(rectangles[:, 2:] - rectangles[:, :2], 0), axis=1)
