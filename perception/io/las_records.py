"""The point record of a LAS file: its standard dimensions, its extra bytes, and how they become columns.

Sources: ASPRS LAS 1.4 R15, point data record formats 0-10 and the Extra Bytes variable length record.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import laspy
import numpy as np

from perception.errors import PerceptionError

RECORD_BYTES = (20, 28, 26, 34, 57, 63, 30, 36, 38, 59, 67)
EXTRA_BYTES_BLOCK = 192
EXTRA_KINDS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")
HAS_SCALE, HAS_OFFSET = 8, 16


@dataclass(frozen=True)
class ExtraDimension:
    """One or up to three numbers (or raw bytes) a point beyond the standard ones, scaled where the file says so."""

    name: str
    kind: np.dtype
    scale: np.ndarray | None = None
    offset: np.ndarray | None = None


@dataclass(frozen=True)
class RecordLayout:
    """``dtype`` is the whole record; extra dimension number i is its field ``#i``, undescribed bytes ``#rest``."""

    point_format: laspy.PointFormat
    dtype: np.dtype
    extra: tuple[ExtraDimension, ...]

    def columns(self, records: np.ndarray) -> dict[str, np.ndarray]:
        """All dimensions but X, Y, Z of records (N,), by name and in the file's units; scaled extra ones as float64."""
        standard = laspy.PackedPointRecord(records, self.point_format)
        names = [n for n in self.point_format.dimension_names if n not in ("X", "Y", "Z")]
        columns = {name: np.asarray(standard[name]) for name in names}
        for number, extra in enumerate(self.extra):
            values = records[f"#{number}"]
            if extra.scale is not None and extra.offset is not None:
                values = values * extra.scale + extra.offset
            columns[extra.name] = values
        if "#rest" in (records.dtype.names or ()):
            columns["extra_bytes"] = records["#rest"]
        return columns


def record_layout(format_id: int, record_length: int, blocks: bytes, where: str) -> tuple[RecordLayout, list[str]]:
    """The layout of a point format with ``blocks`` of an Extra Bytes record, and what is odd about it.

    Raises PerceptionError where the dimensions do not fit into the record length that the header states.
    """
    point_format = laspy.PointFormat(format_id)
    entries: list[tuple] = [(n, *point_format.dtype().fields[n][:1]) for n in point_format.dtype().names]
    room, problems = record_length - RECORD_BYTES[format_id], []
    if room < 0:
        raise PerceptionError(
            f"{where}: point records of {record_length} bytes",
            f"at least {RECORD_BYTES[format_id]} for point format {format_id}",
            "the header is damaged: copy or download the file again",
        )
    taken = set(point_format.dimension_names) | {"x", "y", "z", "extra_bytes"}
    extra = _extra_dimensions(blocks, taken, where) if room else []
    if blocks and not room:
        problems.append("describes extra bytes, but its records have none")
    for number, dimension in enumerate(extra):
        entries.append((f"#{number}", dimension.kind))
        room -= dimension.kind.itemsize
    if room < 0:
        raise PerceptionError(
            f"{where}: extra bytes that need {-room} bytes more than the point records have",
            f"records of {record_length - room} bytes, found {record_length}",
            "write the file again with a tool that describes its extra bytes correctly",
        )
    if room:
        entries.append(("#rest", "u1") if room == 1 else ("#rest", "u1", (room,)))
    return RecordLayout(point_format, np.dtype(entries), tuple(extra)), problems


def _extra_dimensions(blocks: bytes, taken: set[str], where: str) -> list[ExtraDimension]:
    if len(blocks) % EXTRA_BYTES_BLOCK:
        raise PerceptionError(
            f"{where}: an Extra Bytes record of {len(blocks)} bytes", f"a multiple of {EXTRA_BYTES_BLOCK}"
        )
    dimensions: list[ExtraDimension] = []
    for start in range(0, len(blocks), EXTRA_BYTES_BLOCK):
        block = blocks[start : start + EXTRA_BYTES_BLOCK]
        code, options = block[2], block[3]
        if code > 30 or (code == 0 and options == 0):
            raise PerceptionError(f"{where}: extra bytes of the unknown type {code}", "types 0 to 30")
        name = block[4:36].split(b"\0")[0].decode("utf-8", "replace").strip() or f"extra_{len(dimensions)}"
        while name in taken:
            name += "_2"
        taken.add(name)
        count = options if code == 0 else (code - 1) // 10 + 1
        scalar = np.dtype("u1") if code == 0 else np.dtype("<" + EXTRA_KINDS[(code - 1) % 10])
        kind = scalar if code and count == 1 else np.dtype((scalar, (count,)))
        scale, offset = _scaling(block, code, options, count)
        dimensions.append(ExtraDimension(name, kind, scale, offset))
    return dimensions


def _scaling(block: bytes, code: int, options: int, count: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    if code == 0 or not options & (HAS_SCALE | HAS_OFFSET):
        return None, None
    scale = struct.unpack_from("<3d", block, 112)[:count] if options & HAS_SCALE else (1.0,) * count
    offset = struct.unpack_from("<3d", block, 136)[:count] if options & HAS_OFFSET else (0.0,) * count
    if count == 1:
        return np.float64(scale[0]), np.float64(offset[0])  # type: ignore[return-value]
    return np.array(scale), np.array(offset)
