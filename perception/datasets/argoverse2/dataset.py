"""Argoverse 2 sensor logs in their published layout, boxes in the ego frame.

Wilson et al., NeurIPS 2021 Datasets. A log is a folder with sensors/lidar/<stamp in ns>.feather,
city_SE3_egovehicle.feather, calibration/ and, but for the test split, annotations.feather.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from perception.datasets.argoverse2.labels import NO_OBJECTS, annotated_stamps, read_annotations
from perception.datasets.rigid import inverse, move, poses
from perception.datasets.sample import Objects, Sample
from perception.errors import PerceptionError, nearest
from perception.io.arrow import Kind, read_feather_columns
from perception.io.feather import read_feather
from perception.points import PointCloud

LAYOUT = "<root>/<split>/<log>/{sensors/lidar/*.feather,annotations.feather,city_SE3_egovehicle.feather}"
_POSE = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")
_POSES: dict[str, Kind] = {"timestamp_ns": "integer", **dict.fromkeys(_POSE, "number")}
_SENSORS: dict[str, Kind] = {"sensor_name": "text", **dict.fromkeys(_POSE, "number")}


class Argoverse2Log:
    """The sweeps of one log as samples.

    Clouds hold ``intensity`` (0 to 255) and ``laser_number`` as published, and ``offset_ns``, the time of a point since
    the sweep's stamp; points are already corrected for the motion of the vehicle during the sweep. With ``sweeps`` over
    1 the sweeps before are added in the frame of the last one, and a field ``time``, the seconds that a point's
    sweep is older; at the start of a log there are fewer. ``cloud.stamp`` is in seconds on the data set's clock;
    ``cloud.metadata["pose"]`` (4, 4) leads from the ego frame to the city's.

    Objects have the attributes of ``read_annotations`` and no velocity; ``objects`` is None for logs without
    annotations. ``labelled`` leaves out the sweeps that nobody annotated, some at both ends of a log.
    """

    def __init__(self, folder: str | Path, sweeps: int = 1, labelled: bool = False) -> None:
        if sweeps < 1:
            raise PerceptionError(f"sweeps = {sweeps}", "1 or more", "5 and 10 are usual")
        self.folder, self.sweeps = Path(folder), sweeps
        files = (self.folder / "sensors" / "lidar").glob("*.feather")
        self._paths = dict(sorted((int(p.stem), p) for p in files if p.stem.isdecimal()))
        if not self._paths:
            raise PerceptionError(f"no sweeps in {self.folder / 'sensors' / 'lidar'}", LAYOUT, "pass a log's folder")
        self.has_annotations = (self.folder / "annotations.feather").is_file()
        if labelled and not self.has_annotations:
            raise PerceptionError(
                f"{self.folder} has no annotations.feather", "a labelled log", "use the train or val split"
            )
        self._all = tuple(self._paths)
        known = annotated_stamps(self.folder / "annotations.feather") if labelled else frozenset(self._all)
        self.stamps = tuple(stamp for stamp in self._all if stamp in known)

    def __len__(self) -> int:
        return len(self.stamps)

    def __getitem__(self, index: int) -> Sample:
        stamp = self.stamps[index]
        return Sample(self.identifier(index), self.cloud(index), self.objects(stamp))

    def identifier(self, index: int) -> str:
        """``<log>/<stamp in ns>``: the two keys of a sweep in results."""
        return f"{self.folder.name}/{self.stamps[index]}"

    @cached_property
    def annotations(self) -> dict[int, Objects]:
        """Objects by the stamp of their sweep."""
        return read_annotations(self.folder / "annotations.feather")

    def release(self) -> None:
        """Forget the tables that have been read: those of hundreds of logs would fill the memory."""
        for name in ("annotations", "poses"):
            self.__dict__.pop(name, None)

    def objects(self, stamp: int) -> Objects | None:
        """The objects at a sweep, none at a sweep without rows; None for a log without annotations."""
        if not self.has_annotations:
            return None
        return self.annotations.get(stamp, NO_OBJECTS)

    @cached_property
    def poses(self) -> dict[int, np.ndarray]:
        """Poses (4, 4) from the ego frame to the city's by stamp in nanoseconds; every sweep's stamp is among them."""
        path = self.folder / "city_SE3_egovehicle.feather"
        columns = read_feather_columns(path, _POSES, "poses of the vehicle")
        return dict(zip(columns["timestamp_ns"].tolist(), _matrices(columns, path)))

    @cached_property
    def calibration(self) -> dict[str, np.ndarray]:
        """Mounting (4, 4) from each sensor's frame to the ego frame by its name."""
        path = self.folder / "calibration" / "egovehicle_SE3_sensor.feather"
        columns = read_feather_columns(path, _SENSORS, "mounting of the sensors")
        return dict(zip(columns["sensor_name"].tolist(), _matrices(columns, path)))

    def pose(self, stamp: int) -> np.ndarray:
        """The pose of a sweep; PerceptionError where the log has none at its stamp."""
        if stamp not in self.poses:
            raise PerceptionError(
                f"{self.folder / 'city_SE3_egovehicle.feather'} has no pose at {stamp}",
                "a pose at the stamp of every sweep",
                "download the log again",
            )
        return self.poses[stamp]

    def cloud(self, index: int) -> PointCloud:
        """The sweep, with those before it as ``sweeps`` says."""
        stamp = self.stamps[index]
        pose = self.pose(stamp)
        last = read_feather(self._paths[stamp])
        if self.sweeps == 1:
            return replace(last, metadata={**last.metadata, "pose": pose})
        place = self._all.index(stamp)
        parts = [_aged(last, 0.0)]
        for earlier in reversed(self._all[max(0, place - self.sweeps + 1) : place]):
            cloud = read_feather(self._paths[earlier])
            moved = move(cloud.xyz, inverse(pose) @ self.pose(earlier))
            parts.append(_aged(cloud.with_xyz(moved.astype(np.float32)), (stamp - earlier) / 1e9))
        return replace(PointCloud.concatenate(parts), metadata={**last.metadata, "pose": pose})


class Argoverse2:
    """Several logs as one data set, in the order of their names, then of time.

    ``root`` is the folder of the splits (train, val, test), of one split's logs, or of one log; ``logs`` chooses logs
    by name. ``sweeps`` and ``labelled`` as in ``Argoverse2Log``. The tables of one log are kept at a time.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "val",
        logs: Iterable[str] | None = None,
        sweeps: int = 1,
        labelled: bool = False,
    ) -> None:
        folders = _log_folders(Path(root), split)
        wanted = sorted(folders) if logs is None else list(logs)
        absent = [name for name in wanted if name not in folders]
        if absent or not wanted:
            raise PerceptionError(
                f"{root} has no log {absent[0]!r}" if absent else f"{root} has no logs of the split {split!r}",
                f"the published layout: {LAYOUT}",
                nearest(absent[0], folders) if absent and folders else "pass the folder that holds train/ and val/",
            )
        self.logs = tuple(Argoverse2Log(folders[name], sweeps, labelled) for name in wanted)
        self._ends = np.cumsum([len(log) for log in self.logs])
        self._current: Argoverse2Log | None = None

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Sample:
        index = range(len(self))[index]
        number = int(np.searchsorted(self._ends, index, side="right"))
        log = self.logs[number]
        if self._current is not None and self._current is not log:
            self._current.release()
        self._current = log
        return log[index - int(self._ends[number]) + len(log)]

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Names of all sweeps, their points unread."""
        return tuple(log.identifier(index) for log in self.logs for index in range(len(log)))


def _log_folders(root: Path, split: str) -> dict[str, Path]:
    for folder in (root / split, root, root.parent):
        found = {p.parent.parent.name: p.parent.parent for p in folder.glob("*/sensors/lidar") if p.is_dir()}
        if folder == root.parent:
            found = {name: path for name, path in found.items() if name == root.name}
        if found:
            return found
    return {}


def _aged(cloud: PointCloud, seconds: float) -> PointCloud:
    return replace(cloud, fields={**cloud.fields, "time": np.full(len(cloud), seconds, np.float32)})


def _matrices(columns: dict[str, np.ndarray], path: Path) -> np.ndarray:
    values = np.stack([columns[name] for name in _POSE], axis=1)
    return poses(values[:, :4], values[:, 4:], str(path))
