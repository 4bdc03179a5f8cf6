"""LAS, LAZ and COPC files: every dimension, in chunks, with the precision of the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import lazrs
import numpy as np

from perception.errors import PerceptionError
from perception.io.las_header import LasHeader, read_las_header
from perception.io.laszip import Laszip, decoding_error
from perception.io.source import truncated
from perception.points import PointCloud

CHUNK_POINTS = 1_000_000
CHUNK_BYTES = 128 << 20
PARALLEL_BYTES = 32 << 20


def read_las(path: Path, *, origin: Sequence[float] | None = None) -> PointCloud:
    """All points of a LAS 1.0-1.4, LAZ or COPC file, all dimensions as fields named as in the standard.

    ``origin`` is what coordinates are relative to, in the file's reference system. By default it is zero where float32
    then keeps half a step of the file's scale, otherwise the rounded centre of the points. ``metadata``: format,
    version, point_format, scale, offset, crs (WKT or "EPSG:<code>", or None), software, problems.
    """
    header = read_las_header(path)
    counts = np.empty((header.points, 3), np.int32)
    fields: dict[str, np.ndarray] = {}
    done = 0
    for records in record_chunks(header):
        rows = slice(done, done + len(records))
        for axis, name in enumerate("XYZ"):
            counts[rows, axis] = records[name]
        for name, values in header.layout.columns(records).items():
            if name not in fields:
                fields[name] = np.empty((header.points, *values.shape[1:]), values.dtype)
            fields[name][rows] = values
        done += len(records)
    if not header.points:
        fields = header.layout.columns(np.zeros(0, header.layout.dtype))
    ends = _ends(header, counts)
    place = _origin(header, ends) if origin is None else np.array(origin, np.float64).reshape(3)
    metadata = {
        "format": header.kind,
        "version": header.version,
        "point_format": header.point_format,
        "scale": tuple(header.scale.tolist()),
        "offset": tuple(header.offset.tolist()),
        "crs": header.crs,
        "software": header.software,
        "problems": header.problems + _outside(header, ends),
    }
    return PointCloud(_relative(header, counts, place), fields, place, frame="map", metadata=metadata)


def record_chunks(header: LasHeader) -> Iterator[np.ndarray]:
    """The point records in order, at most a million at a time, as arrays of ``header.layout.dtype``."""
    step = max(1, min(CHUNK_POINTS, CHUNK_BYTES // header.record_length))
    with open(header.path, "rb") as file:
        file.seek(header.points_offset)
        decompressor = None
        for done in range(0, header.points, step):
            buffer = np.empty(min(step, header.points - done) * header.record_length, np.uint8)
            if header.laszip is None:
                read = file.readinto(buffer.data)
                if read < len(buffer):
                    raise truncated(header.path, "its points", len(buffer), read)
            else:
                try:
                    if decompressor is None:
                        decompressor = _decompressor(header.laszip, file, header.record_length)
                    decompressor.decompress_many(buffer)
                except BaseException as error:
                    raise decoding_error(header.path, error) from None
            yield buffer.view(header.layout.dtype)


def _decompressor(laszip: Laszip, file: BinaryIO, record_length: int) -> Any:
    """All cores at once, but for chunks so large that one core's buffer of a whole chunk costs too much memory."""
    largest = int(laszip.chunks[:, 0].max()) * record_length
    kind = lazrs.ParLasZipDecompressor if largest <= PARALLEL_BYTES else lazrs.LasZipDecompressor
    return kind(file, laszip.record)


def _ends(header: LasHeader, counts: np.ndarray) -> np.ndarray:
    """The lowest and the highest coordinates (2, 3) float64; zeros without points."""
    if not len(counts):
        return np.zeros((2, 3))
    ends = np.stack([counts.min(axis=0), counts.max(axis=0)]) * header.scale + header.offset
    return np.sort(ends, axis=0)


def _outside(header: LasHeader, ends: np.ndarray) -> tuple[str, ...]:
    """A hint at damaged points, which no checksum would tell: coordinates outside of the header's bounds."""
    step = np.abs(header.scale)
    if header.points and ((ends[0] < header.minimum - step) | (ends[1] > header.maximum + step)).any():
        return (f"points reach from {ends[0].tolist()} to {ends[1].tolist()}, beyond the header's bounds",)
    return ()


def _origin(header: LasHeader, ends: np.ndarray) -> np.ndarray:
    """Zero if float32 numbers are dense enough for the file's steps at its farthest point, else near the centre."""
    farthest = np.abs(ends).max(axis=0).astype(np.float32)
    if (np.spacing(farthest) <= np.abs(header.scale)).all():
        return np.zeros(3)
    centre, extent = ends.mean(axis=0), ends[1] - ends[0]
    # Whole metres are pleasant to read; in degrees they would be farther away than the data are wide.
    return np.where(extent > 2, np.round(centre), centre)


def _relative(header: LasHeader, counts: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """``counts`` (N, 3) int32 as float32 coordinates about ``origin``, in the same memory."""
    if not np.isfinite(origin).all():
        raise PerceptionError(f"the origin {origin.tolist()}", "three finite numbers")
    xyz = counts.view(np.float32)
    for start in range(0, len(counts), CHUNK_POINTS):
        rows = slice(start, start + CHUNK_POINTS)
        xyz[rows] = counts[rows] * header.scale + (header.offset - origin)
    return xyz
