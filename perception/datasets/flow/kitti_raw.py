"""Scene flow of KITTI raw drives: neighbouring scans with GPS/IMU records, labels from the tracklets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.datasets.flow.labels import DILATION, box_labels
from perception.datasets.flow.pairs import FlowSample
from perception.datasets.kitti.raw import KittiRaw, KittiRawDrive
from perception.datasets.rigid import inverse
from perception.datasets.sample import Objects
from perception.errors import PerceptionError
from perception.scan_pair import ScanPair
from perception.scene_flow.ground import with_estimated_ground

USUAL_GAP = 0.1


class KittiRawFlow:
    """Pairs of scans with numbers on end, called ``<drive>/<number of the first>``; whole scans, not the camera's view.

    Only drives with tracklets unless ``labelled`` is False; people annotated objects in the camera's view alone, so
    with ``camera_view`` points out of it are not valid. Scans are as published: the scanner's motion during a turn is
    in them.
    """

    def __init__(
        self,
        root: str | Path,
        drives: Iterable[str] | None = None,
        camera_view: bool = True,
        dilation: float = DILATION,
        labelled: bool = True,
    ) -> None:
        self.camera_view, self.dilation = camera_view, dilation
        raw = KittiRaw(root, drives, camera_view=False, labelled=labelled)
        self._places = [(drive, i) for drive in raw.drives for i in range(len(drive) - 1) if _joined(drive, i)]
        if not self._places:
            raise PerceptionError(
                f"{root} has no two scans on end with GPS/IMU records", "oxts/data and calib_imu_to_velo.txt", ""
            )

    def __len__(self) -> int:
        return len(self._places)

    @property
    def identifiers(self) -> tuple[str, ...]:
        return tuple(drive.identifier(index) for drive, index in self._places)

    def __getitem__(self, index: int) -> FlowSample:
        drive, place = self._places[index]
        first, second = (with_estimated_ground(drive.cloud(i)) for i in (place, place + 1))
        pair = ScanPair(first, second, inverse(drive.pose(place + 1)) @ drive.pose(place))
        labels = None
        if drive.tracklets is not None:
            labels = box_labels(pair, _objects(drive, place), _objects(drive, place + 1), self.dilation)
            if self.camera_view:
                seen = drive.calibration.in_camera_view(first.xyz)
                labels = replace(labels, valid=labels.valid & seen)
        stamps = drive.stamp(place), drive.stamp(place + 1)
        seconds = USUAL_GAP if stamps[0] is None or stamps[1] is None else stamps[1] - stamps[0]
        return FlowSample(drive.identifier(place), pair, labels, seconds)


def _joined(drive: KittiRawDrive, index: int) -> bool:
    on_end = drive.frames[index + 1] == drive.frames[index] + 1
    return on_end and drive.has_pose(index) and drive.has_pose(index + 1)


def _objects(drive: KittiRawDrive, index: int) -> Objects:
    """The tracklets' boxes in double precision, those out of the image too."""
    frame = drive.frames[index]
    seen = [(track, t, row) for track, t in enumerate(drive.tracklets or ()) if (row := t.row(frame)) is not None]
    boxes = np.array([t.boxes[row] for _, t, row in seen], np.float64).reshape(-1, 7)
    names = np.array([t.name for _, t, _ in seen], str)
    return Objects(Boxes3D(torch.from_numpy(boxes)), names, {"track": np.array([n for n, _, _ in seen], np.int64)})
