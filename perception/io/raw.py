"""Headerless binary clouds: KITTI, nuScenes, NCLT and records of named float columns.

Such a file says nothing about itself, so a wrong guess of its columns reads as garbage without any error. Its values
tell, however: an intensity is not negative, a ring is a small whole number, a coordinate is neither 1e20 nor 1e-30.
Sources: KITTI object development kit (velodyne), nuScenes devkit schema (lidar sweeps), NCLT data set description
(velodyne_sync records: three uint16 in steps of 5 mm from -100 m, intensity, laser).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from perception.errors import PerceptionError
from perception.io.assemble import assemble_xyz
from perception.io.source import checked_file
from perception.points import PointCloud

KITTI = ("x", "y", "z", "intensity")
NUSCENES = ("x", "y", "z", "intensity", "ring")
NCLT = np.dtype([("xyz", "<u2", 3), ("intensity", "u1"), ("laser", "u1")])
FLOATS = {"float16": "<f2", "float32": "<f4", "float64": "<f8"}
SAMPLE_ROWS = 4096
FIX = (
    "copy it again if it was cut short, or name its format: --input-format or format= kitti, nuscenes, nclt; "
    'in Python also dtype="float16" for halves, and format="raw" with columns=("x", "y", "z", ...) and dtype='
)


def read_kitti(path: Path, *, dtype: str = "float32") -> PointCloud:
    """Four columns: x, y, z in metres, reflectance as ``intensity``."""
    return _read(path, "kitti", KITTI, dtype)


def read_nuscenes(path: Path, *, dtype: str = "float32", columns: Sequence[str] | None = None) -> PointCloud:
    """Five columns: x, y, z in metres, ``intensity``, and ``ring`` or (accumulated sweeps) the lag ``time`` in s."""
    if columns is not None:
        return _read(path, "nuscenes", tuple(columns), dtype)
    values = _rows(path, NUSCENES, dtype)
    _demand(path, "nuscenes", why_not(values, NUSCENES))
    last = "ring" if np.array_equal(values[:, 4], np.round(values[:, 4])) else "time"
    return _cloud(values, (*NUSCENES[:4], last), "nuscenes")


def read_raw(path: Path, *, columns: Sequence[str], dtype: str = "float32") -> PointCloud:
    """Records of equal little-endian floats in named columns; "_" names a column to leave out."""
    return _read(path, "raw", tuple(columns), dtype)


def read_nclt(path: Path) -> PointCloud:
    """Records of 8 bytes: coordinates in metres, ``intensity`` and ``laser`` as uint8."""
    path, size = checked_file(path)
    if size % NCLT.itemsize:
        raise PerceptionError(f"{path} has {size:,} bytes", "a multiple of 8 (NCLT records)", FIX)
    records = np.fromfile(path, NCLT)
    if records["laser"].max() > 31:
        raise PerceptionError(f"{path} names laser {records['laser'].max()}", "lasers 0 to 31 (NCLT records)", FIX)
    # In float64 first: the steps of 5 mm then round once, to the nearest float32.
    xyz = records["xyz"] * 0.005 - 100.0
    fields = {"intensity": records["intensity"], "laser": records["laser"]}
    return assemble_xyz(xyz.astype(np.float32), fields, metadata={"format": "nclt"})


def guess(path: Path) -> str:
    """The headerless format of a file by its size, its values and its name; an error where that is not decidable."""
    path, size = checked_file(path)
    if _looks_like_nclt(path, size):
        return "nclt"
    reasons, found = [], []
    for name, columns in (("kitti", KITTI), ("nuscenes", NUSCENES)):
        if size % (4 * len(columns)):
            reasons.append(f"{name}: {size:,} bytes are not a multiple of {4 * len(columns)}")
            continue
        values = np.memmap(path, "<f4", "r").reshape(-1, len(columns))
        reason = why_not(values, columns, strict=True)
        found += [] if reason else [name]
        reasons += [f"{name}: {reason}"] if reason else []
    if found == ["kitti", "nuscenes"] and path.name.endswith(".pcd.bin"):
        return "nuscenes"  # the data set's own double suffix
    if len(found) == 1:
        return found[0]
    if found:
        raise PerceptionError(f"{path} reads both with 4 and with 5 columns", "a file that tells its columns", FIX)
    raise PerceptionError(
        f"{path} is no cloud of float32 columns ({'; '.join(reasons)})", "KITTI, nuScenes or NCLT records", FIX
    )


def why_not(values: np.ndarray, columns: Sequence[str], strict: bool = False) -> str | None:
    """The reason why values (N, C) cannot be the named columns, or None. ``strict`` for files nobody vouches for."""
    step = max(1, len(values) // SAMPLE_ROWS)
    with np.errstate(invalid="ignore"):
        sample = values[::step].astype(np.float64)  # the bounds below do not fit a float16
    if not len(sample):
        return None
    magnitude = np.abs(sample[np.isfinite(sample)])
    absurd = (magnitude > 1e8) | ((magnitude < 1e-20) & (magnitude > 0))
    if absurd.sum() > 0.01 * max(1, len(magnitude)):
        return "values such as 1e20 or 1e-30, as other columns or another dtype read wrongly have"
    if strict and len(magnitude) < 0.5 * sample.size:
        return "more than half of the values are not finite"
    if strict and 0 < np.abs(np.nan_to_num(sample[:, :3], posinf=0, neginf=0)).max() < 0.01:
        return "no coordinate reaches a centimetre"
    for name, upper in (("intensity", 65_535), ("ring", 1_023)):
        if name in columns:
            column = sample[:, list(columns).index(name)]
            outside = np.count_nonzero((column < 0) | (column > upper))
            if outside > 0.01 * len(column):
                return f"{outside / len(column):.0%} of the column {name} are below 0 or above {upper}"
            if name == "ring" and column.max() > 5 and np.mean(column == np.round(column)) < 0.99:
                return "the column ring is neither whole numbers nor seconds below 5"
    return None


def _read(path: Path, name: str, columns: tuple[str, ...], dtype: str) -> PointCloud:
    values = _rows(path, columns, dtype)
    _demand(path, name, why_not(values, columns))
    return _cloud(values, columns, name)


def _rows(path: Path, columns: tuple[str, ...], dtype: str) -> np.ndarray:
    if dtype not in FLOATS:
        raise PerceptionError(f"dtype {dtype!r}", f"one of {', '.join(FLOATS)}")
    repeated = len({c for c in columns if c != "_"}) < sum(c != "_" for c in columns)
    if repeated or not {"x", "y", "z"} <= set(columns):
        raise PerceptionError(f"the columns {columns}", "different names, with x, y and z among them")
    path, size = checked_file(path)
    record = np.dtype(FLOATS[dtype]).itemsize * len(columns)
    if size % record:
        raise PerceptionError(
            f"{path} has {size:,} bytes, {size / record:.2f} records of {len(columns)} {dtype} columns",
            "a whole number of records",
            FIX,
        )
    return np.fromfile(path, FLOATS[dtype]).reshape(-1, len(columns))


def _demand(path: Path, name: str, reason: str | None) -> None:
    if reason:
        raise PerceptionError(f"{path} is not in the format {name!r}: {reason}", "values of that format", FIX)


def _cloud(values: np.ndarray, columns: tuple[str, ...], name: str) -> PointCloud:
    index = {column: number for number, column in enumerate(columns)}
    if columns[:3] == ("x", "y", "z"):
        xyz = np.ascontiguousarray(values[:, :3])
    else:
        xyz = values[:, [index["x"], index["y"], index["z"]]]
    fields = {c: values[:, i] for c, i in index.items() if c not in ("x", "y", "z", "_")}
    return assemble_xyz(xyz, fields, metadata={"format": name})


def _looks_like_nclt(path: Path, size: int) -> bool:
    """Byte 7 of every record is a laser below 32; as the top byte of float32 values that would mean 1e-20 and less."""
    if size % NCLT.itemsize or size < 64 * NCLT.itemsize:
        return False
    if np.fromfile(path, NCLT, 64)["laser"].max() > 31:
        return False
    records = np.fromfile(path, NCLT)
    return bool(records["laser"].max() < 32 and records["laser"].any() and np.ptp(records["xyz"][:, 0]) > 0)
