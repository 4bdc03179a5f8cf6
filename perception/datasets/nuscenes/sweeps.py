"""Several lidar sweeps as one cloud in the frame of the newest: what detectors on nuScenes read.

Caesar et al., "nuScenes: A multimodal dataset for autonomous driving", CVPR 2020, section 4 (ten sweeps, 0.5 s), and
``from_file_multisweep`` of the development kit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perception.errors import PerceptionError
from perception.io.clouds import read_points
from perception.points import PointCloud


@dataclass(frozen=True, eq=False)
class Sweep:
    """A recording: its file, ``to_keyframe`` (4, 4) or None for the keyframe itself, ``lag`` seconds before it."""

    path: Path
    to_keyframe: np.ndarray | None = None
    lag: float = 0.0


def merge_sweeps(sweeps: Sequence[Sweep], near: float, stamp: float | None = None) -> PointCloud:
    """All points in the order of the sweeps with the fields ``intensity`` and ``time``, the lag in seconds.

    Points less than ``near`` metres from their own sensor along both x and y are left out: they are the vehicle's.
    A sweep that is listed twice is read once.
    """
    parts: dict[int, PointCloud] = {}
    for sweep in sweeps:
        if id(sweep) not in parts:
            parts[id(sweep)] = _read(sweep, near)
    chosen = [parts[id(sweep)] for sweep in sweeps]
    return PointCloud(
        np.concatenate([part.xyz for part in chosen]),
        {name: np.concatenate([part.fields[name] for part in chosen]) for name in ("intensity", "time")},
        stamp=stamp,
        dropped=sum(part.dropped for part in chosen),
        metadata={"format": "nuscenes", "sweeps": len(chosen)},
    )


def _read(sweep: Sweep, near: float) -> PointCloud:
    if not sweep.path.is_file():
        raise PerceptionError(
            f"no sweep {sweep.path}", "the recordings of samples/ and sweeps/", "unpack all archives with lidar blobs"
        )
    cloud = read_points(sweep.path, format="nuscenes")
    xyz = cloud.xyz
    kept = (np.abs(xyz[:, 0]) >= near) | (np.abs(xyz[:, 1]) >= near)
    xyz, intensity = xyz[kept], cloud.fields["intensity"][kept].astype(np.float32)
    if sweep.to_keyframe is not None:
        xyz = (xyz @ sweep.to_keyframe[:3, :3].T + sweep.to_keyframe[:3, 3]).astype(np.float32)
    time = np.full(len(xyz), sweep.lag, np.float32)
    return PointCloud(xyz, {"intensity": intensity, "time": time}, dropped=cloud.dropped)
