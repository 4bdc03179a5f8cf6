"""Drives of single scans with poses: KITTI odometry, MulRan, and any folder of scans with a file of poses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from perception.datasets.places.files import FilePlaces, folders_of, read_scan
from perception.datasets.places.sample import PlaceTable
from perception.errors import PerceptionError
from perception.io.clouds import read_points
from perception.io.poses import read_poses
from perception.io.source import checked_file
from perception.points import PointCloud

SUFFIXES = (".bin", ".pcd", ".ply", ".las", ".laz", ".npy", ".npz", ".feather")


def kitti_odometry(root: str, sequences: Sequence[str] = ("00",), every: int = 1) -> FilePlaces:
    """``sequences/NN/velodyne`` with ``poses/NN.txt``: left camera's poses, x to the right and z ahead.

    A sequence is a region of its own. Distances are between positions of the camera, 27 cm from the lidar.
    """
    files: list[Path] = []
    positions, regions = [], []
    for number, name in enumerate(sequences):
        folder = Path(root) / "sequences" / name / "velodyne"
        scans = sorted(folder.glob("*.bin"))
        poses = read_poses(Path(root) / "poses" / f"{name}.txt").matrices
        rows = [int(scan.stem) if scan.stem.isdigit() else -1 for scan in scans]
        if not scans or min(rows) < 0 or max(rows) >= len(poses):
            raise PerceptionError(
                f"{folder}: {len(scans)} scans, {len(poses)} poses",
                "scans 000000.bin ... with a pose for each",
                "the benchmark has poses of sequences 00 to 10",
            )
        files += scans[::every]
        positions.append(poses[rows[::every]][:, [0, 2], 3])
        regions += [number] * len(scans[::every])
    return _drives(root, files, np.concatenate(positions), np.array(regions), tuple(sequences), read_scan)


def mulran(root: str, runs: Sequence[str] | None = None, every: int = 1) -> FilePlaces:
    """``RUN/Ouster/STAMP.bin`` with ``RUN/global_pose.csv``: nanoseconds and twelve numbers a line (Kim et al. 2020).

    Runs of one site share a frame: their names without the number at the end are regions. Scans outside the time of
    the poses are left out.
    """
    files: list[Path] = []
    positions, regions, numbers, names = [], [], [], []
    sites: list[str] = []
    for number, folder in enumerate(folders_of(root, runs, "global_pose.csv")):
        stamps, places = _mulran_poses(folder / "global_pose.csv")
        scans = [
            path for path in sorted(folder.glob("Ouster/*.bin"), key=lambda p: p.stem.zfill(20)) if path.stem.isdigit()
        ]
        times = np.array([int(path.stem) for path in scans], np.int64)
        inside = np.flatnonzero((times >= stamps[0]) & (times <= stamps[-1]))[::every]
        near = np.clip(np.searchsorted(stamps, times[inside]), 1, len(stamps) - 1)
        near -= times[inside] - stamps[near - 1] < stamps[near] - times[inside]
        site = folder.name.rstrip("0123456789")
        sites += [] if site in sites else [site]
        files += [scans[row] for row in inside]
        positions.append(places[near])
        regions += [sites.index(site)] * len(inside)
        numbers += [number] * len(inside)
        names.append(folder.name)
    if not files:
        raise PerceptionError(f"{root}: no scan within the time of the poses", "RUN/Ouster/STAMP.bin", "check the runs")
    table = PlaceTable(np.concatenate(positions), np.array(regions), np.array(numbers), tuple(names))
    return FilePlaces(root, files, table, read_scan)


def scans_with_poses(root: str, poses: str = "poses.txt", scans: str = "", up: str = "z") -> FilePlaces:
    """All clouds of a folder, in the order of their names, with a file of poses (KITTI, TUM, .npy).

    ``poses`` and the folder ``scans`` are relative to ``root``; ``up`` is the axis that heights are along: y for the
    camera's poses of KITTI. See ``rows_of_scans`` for which pose is whose.
    """
    if up not in ("y", "z"):
        raise PerceptionError(f"up {up!r}", "y or z")
    listed = Path(root) / poses
    found = read_poses(listed).matrices
    files = [p for p in sorted((Path(root) / scans).rglob("*")) if p.suffix.lower() in SUFFIXES and p != listed]
    positions = found[rows_of_scans(files, len(found))][:, [0, 1] if up == "z" else [0, 2], 3]
    return _drives(root, files, positions, np.zeros(len(files), np.int64), (Path(root).name,), read_points)


def rows_of_scans(files: Sequence[Path], poses: int) -> np.ndarray:
    """The row of each scan's pose: its place in the list, or its number where scans are named by numbers.

    The second is for a few scans of a long drive whose poses are all there, as KITTI's 000015.bin. PerceptionError
    where neither gives every scan a pose.
    """
    if files and len(files) == poses:
        return np.arange(poses)
    stems = [path.stem for path in files]
    if files and all(stem.isdigit() for stem in stems) and max(map(int, stems)) < poses:
        return np.array([int(stem) for stem in stems])
    raise PerceptionError(
        f"{poses} poses for {len(files)} scans",
        "a pose for every scan, in their order",
        "give all poses, or scans named by the numbers of their poses",
    )


def _mulran_poses(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times in ns, ascending, and positions (N, 2); lines of zeros at the beginning are no poses."""
    checked_file(path)
    try:
        lines = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        stamps = np.array([int(line[0]) for line in lines], np.int64)
        values = np.array([[float(v) for v in line[1:13]] for line in lines], np.float64)
    except (OSError, ValueError, IndexError) as error:
        raise PerceptionError(f"{path}: {error}", "lines of a time in ns and twelve numbers, with commas") from None
    good = values.any(1) if values.ndim == 2 and values.shape[1] == 12 else np.zeros(0, np.bool_)
    if good.sum() < 2 or (np.diff(stamps[good]) <= 0).any():
        raise PerceptionError(f"{path}: {len(lines)} lines", "two poses or more of twelve numbers, times that rise")
    return stamps[good], values[good][:, [3, 7]]


def _drives(
    root: str,
    files: Sequence[Path],
    positions: np.ndarray,
    regions: np.ndarray,
    names: tuple[str, ...],
    read: Callable[[Path], PointCloud],
) -> FilePlaces:
    return FilePlaces(root, files, PlaceTable(positions, regions, regions, names), read)
