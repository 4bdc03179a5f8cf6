"""Two scans and the sensor's motion between them, which scene flow starts from, and what training knows of a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.points import PointBatch, PointCloud

GROUND = "ground"
RIGID = 1e-3  # of a rotation matrix's entries: poses come from files with few digits


@dataclass(frozen=True, eq=False)
class ScanPair:
    """``first`` and ``second`` scan; ``pose`` (4, 4) float64 takes points from the first one's frame to the second's.

    Without a pose both scans are taken to lie in one frame. A bool field ``ground`` of a cloud marks points that no
    model looks at: they move with the ego motion alone.
    """

    first: PointCloud
    second: PointCloud
    pose: np.ndarray = field(default_factory=lambda: np.eye(4))

    def __post_init__(self) -> None:
        pose = np.asarray(self.pose, np.float64)
        rigid = pose.shape == (4, 4) and bool(np.isfinite(pose).all())
        if rigid:
            rotation = pose[:3, :3]
            rigid = np.allclose(rotation @ rotation.T, np.eye(3), atol=RIGID) and np.linalg.det(rotation) > 0
            rigid = rigid and np.allclose(pose[3], [0, 0, 0, 1])
        if not rigid:
            raise PerceptionError(
                f"a pose of shape {pose.shape} that is no rigid motion",
                "a (4, 4) matrix of a rotation and a translation, from the first scan's frame to the second's",
                "with poses of both scans in one map frame it is inverse(pose of the second) @ pose of the first",
            )
        object.__setattr__(self, "pose", pose)

    def moved(self) -> np.ndarray:
        """Where the first scan's points would be in the second's frame if nothing but the sensor moved: (N, 3).

        In float64, relative to the second cloud's origin.
        """
        with np.errstate(invalid="ignore"):  # points that are not finite stay so, and are left out later
            moved: np.ndarray = self.first.world() @ self.pose[:3, :3].T + self.pose[:3, 3] - self.second.origin
        return moved

    def ego_flow(self) -> np.ndarray:
        """Motion (N, 3) float32, metres, that each point of the first scan has from the sensor's own motion."""
        return _difference(self, self.moved())


@dataclass(frozen=True, eq=False)
class FlowTruth:
    """What is known about the points of a pair; losses say which of it they need.

    ``flow`` (N, 3) metres of the first scan's points, the ego motion included, NaN where it is not known;
    ``foreground`` (N,) bool, whether a point belongs to an object; ``motion``: for the points of the first and of the
    second scan, 0 for what stands still, 1 for what moves, and from 2 on the number of its cluster (int64).
    """

    flow: Tensor | None = None
    foreground: Tensor | None = None
    motion: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Points of several pairs in the frames of their second scans, ground and points that are not finite left out.

    ``kept`` are the rows of ``first`` and of ``second`` among all points of their clouds, one cloud after the other;
    ``ego_flow`` (N, 3) float32 is that of all points of the first clouds, which have ``sizes`` points.
    """

    first: PointBatch
    second: PointBatch
    kept: tuple[Tensor, Tensor]
    ego_flow: Tensor
    sizes: tuple[tuple[int, ...], tuple[int, ...]]

    @property
    def batch_size(self) -> int:
        return self.first.batch_size

    @classmethod
    def of(cls, pairs: Sequence[ScanPair], device: torch.device | str = "cpu") -> PairBatch:
        """Compensate the ego motion, in float64, and stack the scans."""
        moved = [pair.moved() for pair in pairs]
        compensated = [(xyz.astype(np.float32), pair.first) for xyz, pair in zip(moved, pairs)]
        first, first_kept = _stack(compensated, device)
        second, second_kept = _stack([(pair.second.xyz, pair.second) for pair in pairs], device)
        ego = [_difference(pair, xyz) for pair, xyz in zip(pairs, moved)] or [np.zeros((0, 3), np.float32)]
        sizes = tuple(len(pair.first) for pair in pairs), tuple(len(pair.second) for pair in pairs)
        flow = torch.from_numpy(np.concatenate(ego)).to(device)
        return cls(first, second, (first_kept, second_kept), flow, sizes)


def _stack(scans: Sequence[tuple[np.ndarray, PointCloud]], device: torch.device | str) -> tuple[PointBatch, Tensor]:
    values, sample, rows, before = [np.zeros((0, 3), np.float32)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    for number, (xyz, cloud) in enumerate(scans):
        kept = np.flatnonzero(np.isfinite(xyz).all(1) & ~ground_mask(cloud))
        values.append(xyz[kept])
        sample.append(np.full(len(kept), number))
        rows.append(kept + before)
        before += len(xyz)
    points, samples, all_rows = (torch.from_numpy(np.concatenate(a)).to(device) for a in (values, sample, rows))
    return PointBatch(points, samples, len(scans)), all_rows


def _difference(pair: ScanPair, moved: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return (moved + pair.second.origin - pair.first.world()).astype(np.float32)


def ground_mask(cloud: PointCloud) -> np.ndarray:
    """(N,) bool: the cloud's field ``ground``, or nothing where it has none."""
    if GROUND not in cloud.fields:
        return np.zeros(len(cloud), np.bool_)
    return cloud.fields[GROUND].astype(np.bool_).reshape(-1)
