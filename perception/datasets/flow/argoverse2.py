"""Scene flow of Argoverse 2 sensor logs: neighbouring annotated sweeps, labels of their boxes, ground of the map."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from perception.datasets.argoverse2.dataset import Argoverse2, Argoverse2Log
from perception.datasets.argoverse2.ground import HeightMap, read_height_map
from perception.datasets.flow.labels import DILATION, box_labels, moved_objects
from perception.datasets.flow.pairs import FlowSample, with_ground
from perception.datasets.rigid import inverse, move
from perception.errors import PerceptionError
from perception.points import PointCloud
from perception.scan_pair import ScanPair
from perception.scene_flow.ground import ground_of

LIDAR = "up_lidar"
LONGEST_GAP = 0.15
Frame = Literal["vehicle", "lidar"]


class Argoverse2Flow:
    """Pairs of sweeps 0.1 s apart, called ``<log>/<stamp of the first in ns>``; ``split`` and ``logs`` as elsewhere.

    ``frame``: "vehicle" as published, or "lidar", the upper lidar's, in which OpenSceneFlow keeps its points and its
    weights expect them. ``dilation`` widens boxes as ``box_labels`` says. The ground is that of the map, or estimated
    for logs without one. ``labelled`` False takes logs without annotations too, and all sweeps of the others.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "val",
        logs: Iterable[str] | None = None,
        frame: Frame = "vehicle",
        dilation: float = DILATION,
        labelled: bool = True,
    ) -> None:
        self.frame, self.dilation, self.labelled = frame, dilation, labelled
        self.logs = Argoverse2(root, split, logs, labelled=labelled).logs
        self._places = [
            (log, index)
            for log in self.logs
            for index in range(len(log) - 1)
            if (log.stamps[index + 1] - log.stamps[index]) / 1e9 < LONGEST_GAP
        ]
        if not self._places:
            raise PerceptionError(f"{root} has no two sweeps 0.1 s apart", "whole logs", "download the sensor logs")
        self._current: tuple[Argoverse2Log, HeightMap | None] | None = None

    def __len__(self) -> int:
        return len(self._places)

    @property
    def identifiers(self) -> tuple[str, ...]:
        return tuple(log.identifier(index) for log, index in self._places)

    def __getitem__(self, index: int) -> FlowSample:
        log, place = self._places[index]
        self._open(log)
        stamps = log.stamps[place], log.stamps[place + 1]
        to_city = [log.pose(stamp) for stamp in stamps]
        mounting = self._mounting(log)
        clouds = [self._in_frame(log.cloud(place + i), to_city[i], mounting) for i in (0, 1)]
        pose = inverse(mounting) @ inverse(to_city[1]) @ to_city[0] @ mounting
        pair = ScanPair(clouds[0], clouds[1], pose)
        labels = None
        objects = [log.objects(stamp) for stamp in stamps]
        if objects[0] is not None and objects[1] is not None:
            first, second = (moved_objects(o, inverse(mounting)) for o in objects if o is not None)
            labels = box_labels(pair, first, second, self.dilation)
        return FlowSample(log.identifier(place), pair, labels, (stamps[1] - stamps[0]) / 1e9)

    def _open(self, log: Argoverse2Log) -> None:
        """The tables and the map of one log are kept at a time."""
        if self._current is not None and self._current[0] is log:
            return
        if self._current is not None:
            self._current[0].release()
        self._current = log, read_height_map(log.folder)

    def _mounting(self, log: Argoverse2Log) -> np.ndarray:
        """Pose (4, 4) from the frame of the points to the vehicle's."""
        if self.frame == "vehicle":
            return np.eye(4)
        if LIDAR not in log.calibration:
            raise PerceptionError(f"{log.folder} has no mounting of {LIDAR}", "calibration of the lidars", "")
        return log.calibration[LIDAR]

    def _in_frame(self, cloud: PointCloud, to_city: np.ndarray, mounting: np.ndarray) -> PointCloud:
        heights = self._heights(cloud, to_city)
        moved = cloud if self.frame == "vehicle" else cloud.with_xyz(move(cloud.xyz, inverse(mounting)))
        return with_ground(moved, ground_of(cloud) if heights is None else heights)

    def _heights(self, cloud: PointCloud, to_city: np.ndarray) -> np.ndarray | None:
        found = self._current[1] if self._current is not None else None
        return None if found is None else found.is_ground(move(cloud.xyz, to_city))
