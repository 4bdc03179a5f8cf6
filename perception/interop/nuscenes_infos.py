"""nuScenes by the info files of OpenPCDet (``nuscenes_infos_10sweeps_train.pkl``) and mmdet3d (0.x, and 1.x with
``metainfo`` and ``data_list``), the lidar files by the data set's published layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.datasets.nuscenes.dataset import Fill, fill_sweeps
from perception.datasets.nuscenes.geometry import NuscenesCalibration, inverse_pose, pose_matrices
from perception.datasets.nuscenes.sweeps import Sweep, merge_sweeps
from perception.datasets.sample import Objects, Sample
from perception.errors import PerceptionError
from perception.interop.info_boxes import Convention, find_convention, lidar_boxes
from perception.interop.info_files import class_names, read_info_file

_UNUSED = ("cams", "images", "cam_instances", "cam_sync_instances", "radar_points")


class NuscenesInfos:
    """The keyframes of an info file; samples are called by their token.

    ``infos`` is the file, relative to ``root`` or absolute; lidar files lie in ``root``. Other options as in
    ``Nuscenes``. ``convention`` of the boxes is told by the file's layout; where that leaves two (mmdet3d 0.x and early
    1.0), by the shape of the vehicles. Raises PerceptionError for other files and for keys that are missing.
    """

    def __init__(
        self,
        root: str | Path,
        infos: str | Path,
        sweeps: int = 10,
        missing: Fill = "repeat",
        near: float = 1.0,
        minimum_lidar_points: int = 1,
        convention: Convention = "auto",
    ) -> None:
        self.root, self.path = Path(root), Path(root) / infos
        self.sweeps, self.missing, self.near, self.minimum_lidar_points = sweeps, missing, near, minimum_lidar_points
        self._parse, self.frames, self._classes = _layout(self.path)
        for frame in self.frames:
            for key in _UNUSED:  # pictures take most of the memory
                frame.pop(key, None)
        self.convention = self._convention(convention)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        frame = self._frame(index)
        sweeps = [Sweep(self._find(s.path), s.to_keyframe, s.lag) for s in frame.sweeps[: self.sweeps]]
        cloud = merge_sweeps(fill_sweeps(sweeps, self.sweeps, self.missing), self.near, frame.stamp)
        return Sample(frame.calibration.token, cloud, self._objects(frame), frame.calibration)

    @property
    def identifiers(self) -> list[str]:
        return [str(frame.get("token")) for frame in self.frames]

    def _frame(self, index: int) -> _Frame:
        try:
            return self._parse(self.frames[index], self._classes)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise PerceptionError(
                f"{self.path}, frame {index}: {type(error).__name__} {error}",
                "the keys of an OpenPCDet or mmdet3d info",
                "make the info file again",
            ) from None

    def _objects(self, frame: _Frame) -> Objects | None:
        if frame.boxes is None:
            return None
        boxes = lidar_boxes(frame.boxes, self.convention).astype(np.float32)
        velocity = torch.from_numpy(frame.velocity.astype(np.float32))
        counts = {"lidar_points": frame.lidar_points, "radar_points": frame.radar_points}
        objects = Objects(Boxes3D(torch.from_numpy(boxes), velocity), frame.names, counts)
        return objects.select(frame.lidar_points >= self.minimum_lidar_points)

    def _convention(self, given: Convention) -> Convention:
        if given != "auto" or self._parse is not _mmdet3d_0:
            return "length_first" if given == "auto" else given
        some = [self._frame(i) for i in range(0, len(self), max(1, len(self) // 200))]
        labelled = [(frame.boxes, frame.names) for frame in some if frame.boxes is not None]
        if not labelled:
            return "length_first"
        boxes, names = np.concatenate([b for b, _ in labelled]), np.concatenate([n for _, n in labelled])
        return find_convention(boxes, names, str(self.path))

    def _find(self, path: Path) -> Path:
        """A lidar file by its place below samples/ or sweeps/, else by its name: others are another machine's."""
        parts = PurePosixPath(path.as_posix()).parts
        start = next((i for i, part in enumerate(parts) if part in ("samples", "sweeps")), None)
        below = [Path(*parts[start:])] if start is not None else []
        places = [*below, Path("samples/LIDAR_TOP") / path.name, Path("sweeps/LIDAR_TOP") / path.name, Path(path.name)]
        return next((self.root / p for p in places if (self.root / p).is_file()), self.root / places[0])


@dataclass(frozen=True, eq=False)
class _Frame:
    """One info: its sweeps, the keyframe first; ``boxes`` (N, 7) as they are in the file, None without labels."""

    calibration: NuscenesCalibration
    sweeps: list[Sweep]
    stamp: float
    boxes: np.ndarray | None
    velocity: np.ndarray
    names: np.ndarray
    lidar_points: np.ndarray
    radar_points: np.ndarray


def _layout(path: Path) -> tuple[Any, list[dict[str, Any]], dict[int, str]]:
    """How to parse the file's frames, the frames, and the names of its class numbers."""
    content = read_info_file(path)
    frames: Any = None
    parse: Any = _mmdet3d_0
    classes: dict[int, str] = {}
    if isinstance(content, list):
        frames, parse = content, _openpcdet
    elif isinstance(content, dict) and "data_list" in content:
        frames, parse, classes = content["data_list"], _mmdet3d_1, class_names(content, path)
    elif isinstance(content, dict):
        frames = content.get("infos")
    lidar = "lidar_points" if parse is _mmdet3d_1 else "lidar_path"
    if not isinstance(frames, list) or not all(isinstance(f, dict) and lidar in f and "token" in f for f in frames):
        raise PerceptionError(
            f"{path} is no list of nuScenes infos",
            "nuscenes_infos_*.pkl of OpenPCDet or mmdet3d",
            "a KITTI info file belongs to the data set kitti_infos",
        )
    return parse, frames, classes


def _openpcdet(info: Mapping[str, Any], _: Mapping[int, str]) -> _Frame:
    to_ego = inverse_pose(np.asarray(info["ref_from_car"], np.float64))
    calibration = NuscenesCalibration(
        str(info["token"]), to_ego, inverse_pose(np.asarray(info["car_from_global"], np.float64))
    )
    sweeps = [Sweep(Path(info["lidar_path"]))]
    # Files list the keyframe again, without a transform, where a scene has no earlier sweep, and repeat the oldest.
    for sweep in info["sweeps"]:
        if sweep["transform_matrix"] is not None and Path(sweep["lidar_path"]) != sweeps[-1].path:
            matrix = np.asarray(sweep["transform_matrix"], np.float64)
            sweeps.append(Sweep(Path(sweep["lidar_path"]), matrix, float(sweep["time_lag"])))
    boxes = info.get("gt_boxes")
    return _make(info, calibration, sweeps, float(info["timestamp"]), boxes, None if boxes is None else boxes[:, 7:9])


def _mmdet3d_0(info: Mapping[str, Any], _: Mapping[int, str]) -> _Frame:
    calibration = NuscenesCalibration(str(info["token"]), _pose(info, "lidar2ego"), _pose(info, "ego2global"))
    sweeps = [Sweep(Path(info["lidar_path"]))]
    for sweep in info["sweeps"]:
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = sweep["sensor2lidar_rotation"], sweep["sensor2lidar_translation"]
        lag = 1e-6 * (float(info["timestamp"]) - float(sweep["timestamp"]))
        sweeps.append(Sweep(Path(sweep["data_path"]), matrix, lag))
    stamp = 1e-6 * float(info["timestamp"])
    return _make(info, calibration, sweeps, stamp, info.get("gt_boxes"), info.get("gt_velocity"))


def _mmdet3d_1(info: Mapping[str, Any], classes: Mapping[int, str]) -> _Frame:
    lidar = info["lidar_points"]
    calibration = NuscenesCalibration(str(info["token"]), _matrix(lidar["lidar2ego"]), _matrix(info["ego2global"]))
    sweeps = [Sweep(Path(lidar["lidar_path"]))]
    for sweep in info.get("lidar_sweeps", ()):
        # From the poses: the stored lidar2sensor has meant two things in the course of the versions.
        to_global = _matrix(sweep["ego2global"]) @ _matrix(sweep["lidar_points"]["lidar2ego"])
        matrix = inverse_pose(calibration.lidar_to_global) @ to_global
        lag = float(info["timestamp"]) - float(sweep["timestamp"])
        sweeps.append(Sweep(Path(sweep["lidar_points"]["lidar_path"]), matrix, lag))
    instances = info.get("instances")
    if instances is None:
        return _make(info, calibration, sweeps, float(info["timestamp"]), None, None)
    columns = {
        "gt_names": [classes.get(int(i["bbox_label_3d"]), "ignore") for i in instances],
        "num_lidar_pts": [int(i["num_lidar_pts"]) for i in instances],
        "num_radar_pts": [int(i.get("num_radar_pts", 0)) for i in instances],
    }
    boxes = np.array([i["bbox_3d"] for i in instances], np.float64).reshape(-1, 7)
    velocity = np.array([i.get("velocity", (np.nan, np.nan)) for i in instances], np.float64)
    return _make(columns, calibration, sweeps, float(info["timestamp"]), boxes, velocity)


def _make(
    columns: Mapping[str, Any],
    calibration: NuscenesCalibration,
    sweeps: list[Sweep],
    stamp: float,
    boxes: Any,
    velocity: Any,
) -> _Frame:
    none = np.zeros(0, np.int64)
    if boxes is None:
        return _Frame(calibration, sweeps, stamp, None, np.zeros((0, 2)), np.zeros(0, str), none, none)
    boxes = np.asarray(boxes, np.float64).reshape(len(boxes), -1)[:, :7]
    if velocity is None or np.shape(velocity) != (len(boxes), 2):
        velocity = np.full((len(boxes), 2), np.nan)
    names = np.array(columns["gt_names"], str).reshape(-1)
    counts = [np.asarray(columns[key], np.int64).reshape(-1) for key in ("num_lidar_pts", "num_radar_pts")]
    if not len(names) == len(counts[0]) == len(counts[1]) == len(boxes):
        raise ValueError(f"{len(boxes)} boxes with {len(names)} names and {len(counts[0])} counts")
    return _Frame(calibration, sweeps, stamp, boxes, np.asarray(velocity, np.float64), names, *counts)


def _matrix(values: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array(values, np.float64).reshape(4, 4)


def _pose(info: Mapping[str, Any], name: str) -> np.ndarray:
    translation = np.array(info[f"{name}_translation"], np.float64).reshape(3)
    return pose_matrices(translation, np.array(info[f"{name}_rotation"], np.float64).reshape(4))
