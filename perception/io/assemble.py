"""From the columns of a file to a PointCloud: precision kept, points without a place dropped and counted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from perception.errors import PerceptionError
from perception.points import PointCloud

# Spacing of float32 numbers is below half a millimetre up to here; farther coordinates need an origin of their own.
FAR = 8192.0

# Names that formats or their usual writers give to the one quantity.
COMMON_NAMES = {
    "i": "intensity",
    "Intensity": "intensity",
    "scalar_Intensity": "intensity",
    "scalar_intensity": "intensity",
}


def assemble(
    columns: Mapping[str, np.ndarray],
    *,
    path: Path,
    metadata: Mapping[str, object],
    frame: str = "lidar",
    stamp: float | None = None,
) -> PointCloud:
    """A cloud of the columns x, y, z and fields (first axis N each), without points that have a non-finite coordinate.

    Coordinates wider than float32 that reach beyond ``FAR`` are kept relative to a rounded centre, the cloud's origin.
    """
    columns = dict(columns)
    axes = [_take_axis(columns, axis, path) for axis in "xyz"]
    return assemble_xyz(np.stack(axes, axis=1), columns, metadata=metadata, frame=frame, stamp=stamp)


def assemble_xyz(
    xyz: np.ndarray,
    fields: Mapping[str, np.ndarray],
    *,
    metadata: Mapping[str, object],
    frame: str = "lidar",
    stamp: float | None = None,
) -> PointCloud:
    """Like ``assemble``, of coordinates (N, 3) and fields."""
    dropped = 0
    with np.errstate(over="ignore", invalid="ignore"):
        # One sum tells for the usual cloud that every coordinate is finite; the rows are only searched otherwise.
        clean = bool(np.isfinite(xyz.sum(dtype=np.float32)))
        narrow = xyz if clean else xyz.astype(np.float32, copy=False)
    if not clean:
        finite = np.isfinite(narrow).all(axis=1)
        dropped = len(finite) - int(np.count_nonzero(finite))
        xyz, fields = xyz[finite], {name: values[finite] for name, values in fields.items()}
    relative, origin = recentred(xyz)
    named = _named(fields)
    return PointCloud(relative, named, origin, frame=frame, stamp=stamp, dropped=dropped, metadata=dict(metadata))


def recentred(xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (N, 3) as float32 relative to an origin that costs them no visible precision, and that origin."""
    origin = np.zeros(3)
    if xyz.dtype.kind != "f":
        xyz = xyz.astype(np.float64)
    if xyz.dtype.itemsize > 4 and len(xyz):
        low, high = xyz.min(axis=0), xyz.max(axis=0)
        if max(np.abs(low).max(), np.abs(high).max()) > FAR:
            origin = np.round(low / 2 + high / 2)
            xyz = xyz - origin
    return xyz.astype(np.float32, copy=False), origin


def _take_axis(columns: dict[str, np.ndarray], axis: str, path: Path) -> np.ndarray:
    for name in (axis, axis.upper()):
        if name in columns:
            values = columns.pop(name)
            if values.ndim == 1:
                return values
    raise PerceptionError(
        f"{path} has the columns {', '.join(columns) or '(none)'}, without {axis}",
        "one column each for x, y and z",
        "name the columns of the coordinates x, y, z",
    )


def _named(fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    named: dict[str, np.ndarray] = {}
    for name, values in fields.items():
        common = COMMON_NAMES.get(name, name)
        named[name if common in fields and common != name else common] = np.ascontiguousarray(values)
    return named
