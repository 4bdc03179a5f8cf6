"""Scans of one's own as pairs without labels, for training on what the scans themselves tell of motion."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from perception.datasets.flow.pairs import FlowSample
from perception.datasets.rigid import inverse
from perception.errors import PerceptionError
from perception.io.clouds import SUFFIXES, read_points
from perception.io.poses import read_poses
from perception.scene_flow.ground import pair_with_ground
from perception.scene_flow.motion_labels import motion_labels
from perception.scene_flow.pairs import make_pair

USUAL_GAP = 0.1
READ = {*SUFFIXES, ".bin"}


class ScanPairs:
    """Neighbouring scans of a folder, in the order of their names, called by the name of the first.

    ``poses``: a file with a pose of every scan in one frame (see ``perception.io.poses``); None estimates the motion of
    the sensor from the scans. What moves is found by ``motion_labels``. Ground is estimated.
    """

    def __init__(self, root: str | Path, poses: str | Path | None = None) -> None:
        folder = Path(root)
        self.paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in READ and p.is_file())
        if len(self.paths) < 2:
            raise PerceptionError(f"{len(self.paths)} scans in {folder}", "two or more, named in their order", "")
        self.matrices = None if poses is None else read_poses(poses).matrices
        if self.matrices is not None and len(self.matrices) != len(self.paths):
            raise PerceptionError(
                f"{len(self.matrices)} poses in {poses} for {len(self.paths)} scans", "a pose for every scan", ""
            )

    def __len__(self) -> int:
        return len(self.paths) - 1

    @property
    def identifiers(self) -> tuple[str, ...]:
        return tuple(path.stem for path in self.paths[:-1])

    def __getitem__(self, index: int) -> FlowSample:
        if not 0 <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}")
        first, second = (read_points(path) for path in self.paths[index : index + 2])
        pair = pair_with_ground(make_pair(first, second, self._motion(index)))
        known = first.stamp is not None and second.stamp is not None and second.stamp > first.stamp
        seconds = second.stamp - first.stamp if known and second.stamp and first.stamp else USUAL_GAP
        return FlowSample(self.paths[index].stem, pair, None, seconds, motion_labels(pair))

    def _motion(self, index: int) -> np.ndarray | None:
        if self.matrices is None:
            return None
        moved: np.ndarray = inverse(self.matrices[index + 1]) @ self.matrices[index]
        return moved
