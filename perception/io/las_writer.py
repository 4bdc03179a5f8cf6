"""LAS and LAZ output with the scale, offset, point format and reference system that a cloud was read with."""

from __future__ import annotations

import math
import struct
from typing import IO

import laspy
import numpy as np

from perception.errors import PerceptionError
from perception.points import PointCloud

DEFAULT_SCALE = (1e-4, 1e-4, 1e-4)
# Waveforms live in other places than the points; without them their references mean nothing.
WITHOUT_WAVEFORM = {4: 1, 5: 3, 9: 6, 10: 8}
WAVEFORM_FIELDS = frozenset(
    ["wavepacket_index", "wavepacket_offset", "wavepacket_size", "return_point_wave_location", "x_t", "y_t", "z_t"]
)


def write_las(file: IO[bytes], cloud: PointCloud, *, compress: bool) -> None:
    """Write to an open binary file. References to waveforms are left out; all other fields are written."""
    format_id = _point_format(cloud)
    header = laspy.LasHeader(version="1.4", point_format=format_id)
    header.scales = np.array(_three(cloud, "scale", DEFAULT_SCALE))
    header.offsets = np.array(_three(cloud, "offset", tuple(np.round(cloud.origin).tolist())))
    columns = _columns(cloud)
    standard = set(header.point_format.dimension_names)
    try:
        for name, values in columns.items():
            if name not in standard:
                width = "" if values.ndim == 1 else str(values.shape[1])
                header.add_extra_dim(laspy.ExtraBytesParams(name, width + values.dtype.str[1:]))
        header.vlrs.extend(_reference_system(cloud, header))
        las = laspy.LasData(header)
        las.points = laspy.ScaleAwarePointRecord.zeros(len(cloud), header=header)
        _set_coordinates(las, cloud)
        for name, values in columns.items():
            las[name] = values
            _check_kept(name, values, np.asarray(las[name]))
        las.write(file, do_compress=compress)
    except (ValueError, OverflowError, TypeError, laspy.LaspyException) as error:
        raise PerceptionError(
            f"a cloud that point format {format_id} cannot hold: {error}",
            "values within the limits of the LAS standard",
            "rename or leave out the field, or write .npz",
        ) from None


def _check_kept(name: str, values: np.ndarray, kept: np.ndarray) -> None:
    """Assignment to a narrower type wraps and truncates without a word."""
    if not np.array_equal(kept, values, equal_nan=kept.dtype.kind == "f"):
        raise PerceptionError(
            f"field {name!r} with values that the standard's {kept.dtype} of that name cannot hold",
            "whole numbers within its range" if kept.dtype.kind in "iu" else f"{kept.dtype} numbers",
            "scale the field, or give it another name to store it as extra bytes",
        )


def _set_coordinates(las: laspy.LasData, cloud: PointCloud) -> None:
    scale, offset = las.header.scales, las.header.offsets
    counts = np.round((cloud.xyz + (cloud.origin - offset)) / scale)
    if len(counts) and np.abs(counts).max() > np.iinfo(np.int32).max:
        raise PerceptionError(
            f"coordinates up to {np.abs(cloud.world()).max():,.0f}",
            f"within 2**31 steps of {scale.tolist()} from {offset.tolist()}",
            'set a larger "scale" in the cloud\'s metadata',
        )
    for axis, name in enumerate("XYZ"):
        las[name] = counts[:, axis].astype(np.int32)


def _point_format(cloud: PointCloud) -> int:
    known = cloud.metadata.get("point_format")
    if isinstance(known, int) and 0 <= known <= 10:
        return WITHOUT_WAVEFORM.get(known, known)
    return 7 if {"red", "green", "blue"} <= set(cloud.fields) else 6


def _three(cloud: PointCloud, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
    values = cloud.metadata.get(key, default)
    if isinstance(values, (tuple, list, np.ndarray)) and len(values) == 3 and np.isfinite(values).all():
        return tuple(float(v) for v in values)
    return default


def _columns(cloud: PointCloud) -> dict[str, np.ndarray]:
    """Fields in types that extra bytes know: at most three numbers of 1 to 8 bytes."""
    columns: dict[str, np.ndarray] = {}
    for name, values in cloud.fields.items():
        if name in WAVEFORM_FIELDS:
            continue
        if values.dtype in (bool, np.float16):
            values = values.astype(np.uint8 if values.dtype == bool else np.float32)
        if values.ndim == 1:
            columns[name] = values
            continue
        flat = values.reshape(len(cloud), math.prod(values.shape[1:]))
        if flat.shape[1] in (2, 3):
            columns[name] = flat
        else:
            columns |= {f"{name}_{number}": flat[:, number] for number in range(flat.shape[1])}
    return columns


def _reference_system(cloud: PointCloud, header: laspy.LasHeader) -> list[laspy.VLR]:
    crs = cloud.metadata.get("crs")
    if not isinstance(crs, str):
        return []
    if crs.startswith("EPSG:") and crs[5:].isdecimal() and int(crs[5:]) < 1 << 16:
        code = int(crs[5:])
        geographic = 4000 <= code < 5000  # the range EPSG reserves for them
        keys = [(1024, 0, 1, 2 if geographic else 1), (2048 if geographic else 3072, 0, 1, code)]
        data = b"".join(struct.pack("<4H", *entry) for entry in [(1, 1, 0, len(keys)), *keys])
        return [laspy.VLR("LASF_Projection", 34735, "GeoTIFF keys", data)]
    header.global_encoding.wkt = True
    return [laspy.VLR("LASF_Projection", 2112, "WKT", crs.encode() + b"\0")]
