"""sensor_msgs/PointCloud2 -> PointCloud: any field order, padding, byte order and type, with few copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perception.errors import PerceptionError
from perception.io.assemble import recentred
from perception.points import PointCloud
from perception_ros.conversion.layout import Layout, layout_of
from perception_ros.conversion.point_time import FIELD, TIME_FIELDS, relative_seconds
from perception_ros.conversion.stamps import seconds_of

INTENSITY = "intensity"
# In the order in which they are taken: most drivers, PCL's short form, Ouster and Livox, KITTI's players.
INTENSITY_FIELDS = (INTENSITY, "i", "reflectivity", "reflectance", "signal")
RING_FIELDS = ("ring", "channel", "laser", "line", "row")


@dataclass(frozen=True)
class CloudOptions:
    """What to make of a driver's fields.

    ``intensity_field``: its name, or nothing for the first of ``INTENSITY_FIELDS``; values are multiplied by
    ``intensity_scale`` (1/255 for bytes and a model of KITTI). ``intensity_when_absent`` stands in for clouds without
    one, below 0 they stay without. ``drop_no_returns``: leave out points at exactly 0 0 0, which organised clouds have
    where no echo came back.
    """

    intensity_field: str = ""
    intensity_scale: float = 1.0
    intensity_when_absent: float = -1.0
    drop_no_returns: bool = True


def cloud_of(message: Any, options: CloudOptions | None = None, wanted: Sequence[str] = ()) -> PointCloud:
    """The points of a PointCloud2 with the fields ``intensity``, ``ring``, ``point_time`` and those of ``wanted``.

    ``point_time`` is in seconds from the message's stamp. Rows of organised clouds follow each other. Points with a
    coordinate that is not finite are dropped and counted, like those without a return. Raises PerceptionError for a
    message that contradicts itself and for a cloud without x, y, z.
    """
    options = options or CloudOptions()
    data = _bytes(message.data)
    layout = layout_of(message, data.nbytes)
    stamp = seconds_of(message.header.stamp)
    frame = str(message.header.frame_id)
    if not len(layout):
        fields = {name: np.zeros(0, np.float32) for name in {INTENSITY, *wanted}}
        return PointCloud(np.zeros((0, 3), np.float32), fields, frame=frame, stamp=stamp)
    xyz = _coordinates(layout, data)
    fields = _fields(layout, data, options, wanted, stamp)
    kept = _kept(xyz, options.drop_no_returns)
    dropped = 0
    if kept is not None:
        dropped = len(kept) - int(np.count_nonzero(kept))
        xyz, fields = xyz[kept], {name: values[kept] for name, values in fields.items()}
    relative, origin = recentred(xyz)
    if relative.base is not None or not relative.flags.owndata:
        relative = relative.copy()  # the middleware owns the message's memory
    return PointCloud(relative, fields, origin, frame=frame, stamp=stamp, dropped=dropped)


def _bytes(data: Any) -> np.ndarray:
    """The message's data as bytes in place: array.array, bytes, memoryview and NumPy arrays without a copy."""
    if isinstance(data, (list, tuple)):
        return np.asarray(data, np.uint8)
    if isinstance(data, np.ndarray):
        return np.ascontiguousarray(data).view(np.uint8).reshape(-1)
    return np.frombuffer(data, np.uint8) if len(data) else np.zeros(0, np.uint8)


def _coordinates(layout: Layout, data: np.ndarray) -> np.ndarray:
    absent = [axis for axis in "xyz" if axis not in layout.columns]
    if absent:
        raise PerceptionError(
            f"a cloud with the fields {', '.join(layout.columns) or '(none)'}, without {', '.join(absent)}",
            "x, y and z",
            "check the driver's point type",
        )
    if any(layout.columns[axis].count > 1 for axis in "xyz"):
        raise PerceptionError("a coordinate of several values a point", "x, y and z of count 1")
    together = layout.triple(data, ("x", "y", "z"))
    if together is None:
        together = np.stack([layout.view(data, axis).astype(np.float64) for axis in "xyz"], axis=-1)
        if all(layout.columns[axis].kind.itemsize <= 4 and layout.columns[axis].kind.kind == "f" for axis in "xyz"):
            together = together.astype(np.float32)
    flat = together.reshape(-1, 3)
    return flat.astype(flat.dtype.newbyteorder("="), copy=False)


def _fields(
    layout: Layout, data: np.ndarray, options: CloudOptions, wanted: Sequence[str], stamp: float
) -> dict[str, np.ndarray]:
    fields = {}
    for name in wanted:
        if name in layout.columns and name not in TIME_FIELDS:
            fields[name] = _native(layout, data, name)
    source = _first(layout, (options.intensity_field,) if options.intensity_field else INTENSITY_FIELDS)
    if source is not None:
        values = _native(layout, data, source).astype(np.float32)
        fields[INTENSITY] = values if options.intensity_scale == 1 else values * np.float32(options.intensity_scale)
    elif options.intensity_when_absent >= 0:
        fields[INTENSITY] = np.full(len(layout), options.intensity_when_absent, np.float32)
    ring = _first(layout, RING_FIELDS)
    if ring is not None:
        fields["ring"] = _native(layout, data, ring)
    time = _first(layout, TIME_FIELDS)
    if time is not None:
        fields[FIELD] = relative_seconds(_native(layout, data, time), stamp)
    return fields


def _first(layout: Layout, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in layout.columns and layout.columns[name].count == 1), None)


def _native(layout: Layout, data: np.ndarray, name: str) -> np.ndarray:
    """A field in this machine's byte order and in memory of its own: (N,) or (N, count)."""
    values = layout.view(data, name)
    flat = values.reshape(len(layout), *values.shape[2:])
    return np.array(flat, flat.dtype.newbyteorder("="))


def _kept(xyz: np.ndarray, drop_no_returns: bool) -> np.ndarray | None:
    """Which points to keep; None for all, which the usual cloud is told by two sums."""
    with np.errstate(over="ignore", invalid="ignore"):
        clean = xyz.dtype.kind != "f" or bool(np.isfinite(xyz.sum(dtype=np.float64)))
        if clean and xyz.dtype == np.float64:
            clean = bool(np.abs(xyz).max() < np.finfo(np.float32).max)
    kept = None
    if not clean:
        with np.errstate(over="ignore", invalid="ignore"):
            kept = np.isfinite(xyz.astype(np.float32, copy=False)).all(axis=1)
    if drop_no_returns:
        zero = xyz[:, 0] == 0
        if zero.any():
            zero &= (xyz[:, 1] == 0) & (xyz[:, 2] == 0)
            if zero.any():
                kept = ~zero if kept is None else kept & ~zero
    return kept
