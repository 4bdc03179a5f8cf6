"""The header of a LAS or LAZ file, held against the file's size before anything trusts it.

Libraries that read point clouds believe their headers; a damaged count then costs gigabytes, or ends the process. Here
every count, length and offset is compared with the bytes that are there. Source: ASPRS LAS 1.0-1.4 (public header
block, variable length records).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from perception.errors import PerceptionError
from perception.io.las_crs import reference_system
from perception.io.las_records import RECORD_BYTES, RecordLayout, record_layout
from perception.io.laszip import COMPRESSED, Laszip, read_laszip
from perception.io.source import checked_file, truncated

HEADER_BYTES = (227, 227, 227, 235, 375)  # by minor version
VLR_BYTES, EVLR_BYTES = 54, 60
MOST_VLRS = 10_000
LONGEST_VALUE = 1 << 20  # of an extended record that is read: coordinate reference systems are far shorter
AGAIN = "the file is damaged: copy or download it again"


@dataclass(frozen=True)
class Vlr:
    """A variable length record: its value is ``length`` bytes at ``start`` of the file."""

    user: str
    record: int
    start: int
    length: int


@dataclass(frozen=True, eq=False)
class LasHeader:
    """A header that agrees with its file. ``points`` counts the records; ``layout`` tells how to take them apart.

    Coordinates are X * scale + offset, all (3,) float64. ``minimum`` and ``maximum`` are what the header claims.
    ``laszip`` is how the points are compressed, None if they are not. ``problems`` did not prevent reading.
    """

    path: Path
    kind: str
    version: str
    points: int
    point_format: int
    record_length: int
    points_offset: int
    scale: np.ndarray
    offset: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray
    vlrs: tuple[Vlr, ...]
    layout: RecordLayout
    laszip: Laszip | None
    crs: str | None
    software: str
    problems: tuple[str, ...]

    @property
    def fields(self) -> dict[str, str]:
        """Names and types of all values of a point, as ``read_las`` returns them."""
        columns = self.layout.columns(np.zeros(0, self.layout.dtype))
        return dict.fromkeys("xyz", "float32") | {name: str(values.dtype) for name, values in columns.items()}


def read_las_header(path: Path) -> LasHeader:
    """Read and check the header, the variable length records and, for LAZ, the table of the compressed chunks.

    Cheap: it reads no points. Raises PerceptionError for everything that would make reading fail or lie.
    """
    path, size = checked_file(path)
    with open(path, "rb") as file:
        start = file.read(max(HEADER_BYTES))
        minor, problems = _version(path, start)
        header_size, points_offset, vlr_count = struct.unpack_from("<HII", start, 94)
        _check_offsets(path, size, minor, header_size, points_offset)
        coded, record_length = struct.unpack_from("<BH", start, 104)
        format_id = coded & 0x3F
        if format_id >= len(RECORD_BYTES):
            raise PerceptionError(f"{path}: point format {format_id}", "point formats 0 to 10", AGAIN)
        if format_id > (3, 3, 3, 5, 10)[minor] or (minor == 0 and format_id > 1):
            problems.append(f"point format {format_id} does not exist in LAS 1.{minor}")
        points = _point_count(path, start, minor, problems)
        problems += _doubts(start, minor, points)
        scale, offset, minimum, maximum = _coordinates(path, start, problems)
        vlrs = _records(path, file, header_size, vlr_count, points_offset, extended=False)
        if minor == 4:
            first, count = struct.unpack_from("<QI", start, 235)
            vlrs += _records(path, file, first, count, size, extended=True) if count else []
        extra = _value(file, vlrs, "LASF_Spec", 4)
        layout, odd = record_layout(format_id, record_length, extra, str(path))
        laszip = None
        if coded & COMPRESSED:
            record = _value(file, vlrs, "laszip encoded", 22204)
            laszip = read_laszip(path, file, size, record, points, points_offset, format_id, record_length)
        else:
            _check_points_fit(path, size, points, points_offset, record_length)
        encoding = struct.unpack_from("<H", start, 6)[0]
        crs = reference_system(
            wkt=_value(file, vlrs, "LASF_Projection", 2112),
            keys=_value(file, vlrs, "LASF_Projection", 34735),
            prefer_wkt=bool(encoding & 16),
        )
    copc = any(v.user == "copc" and v.record == 1 for v in vlrs)
    kind = "copc" if copc and laszip else "laz" if laszip else "las"
    software = start[58:90].split(b"\0")[0].decode("latin1").strip()
    return LasHeader(
        path, kind, f"1.{minor}", points, format_id, record_length, points_offset, scale, offset, minimum, maximum,
        tuple(vlrs), layout, laszip, crs, software, tuple(problems + odd),
    )  # fmt: skip


def _version(path: Path, start: bytes) -> tuple[int, list[str]]:
    if start[:4] != b"LASF":
        raise PerceptionError(f"{path} begins with {start[:4]!r}", "b'LASF'", "pass the right format=, or " + AGAIN)
    if len(start) < HEADER_BYTES[0]:
        raise truncated(path, "the LAS header", HEADER_BYTES[0], len(start))
    major, minor = start[24], start[25]
    if major != 1 or minor >= len(HEADER_BYTES):
        raise PerceptionError(f"{path}: LAS version {major}.{minor}", "versions 1.0 to 1.4", "convert it to LAS 1.4")
    if len(start) < HEADER_BYTES[minor]:
        raise truncated(path, f"the header of LAS 1.{minor}", HEADER_BYTES[minor], len(start))
    return minor, []


def _check_offsets(path: Path, size: int, minor: int, header_size: int, points_offset: int) -> None:
    if header_size < HEADER_BYTES[minor]:
        raise PerceptionError(
            f"{path}: a header of {header_size} bytes", f"{HEADER_BYTES[minor]} for LAS 1.{minor}", AGAIN
        )
    if not header_size <= points_offset <= size:
        raise PerceptionError(
            f"{path}: points that begin at byte {points_offset:,}",
            f"between the end of the header ({header_size}) and of the file ({size:,})",
            AGAIN,
        )


def _point_count(path: Path, start: bytes, minor: int, problems: list[str]) -> int:
    legacy = struct.unpack_from("<I", start, 107)[0]
    if minor < 4:
        return legacy
    points = struct.unpack_from("<Q", start, 247)[0]
    if legacy not in (0, points):
        if points == 0:
            raise PerceptionError(f"{path} counts 0 points in one place and {legacy:,} in another", "one count", AGAIN)
        problems.append(f"counts {points:,} points, but {legacy:,} in the field for old readers")
    return points


def _doubts(start: bytes, minor: int, points: int) -> list[str]:
    """A damaged count shows where it differs from the points of each return; not all writers count those."""
    layout, place = ("<15Q", 255) if minor == 4 else ("<5I", 111)
    returns = sum(struct.unpack_from(layout, start, place))
    return [f"counts {points:,} points, but {returns:,} by their returns"] if returns not in (0, points) else []


def _coordinates(path: Path, start: bytes, problems: list[str]) -> tuple[np.ndarray, ...]:
    numbers = np.frombuffer(start, "<f8", 12, 131)
    scale, offset, bounds = numbers[:3].copy(), numbers[3:6].copy(), numbers[6:].reshape(3, 2)
    minimum, maximum = bounds[:, 1].copy(), bounds[:, 0].copy()
    if not ((np.abs(scale) >= 1e-12) & (np.abs(scale) <= 1e6)).all():
        raise PerceptionError(f"{path}: coordinate scales {scale.tolist()}", "such as 0.001", AGAIN)
    if not (np.abs(offset) <= 1e12).all():
        raise PerceptionError(f"{path}: coordinate offsets {offset.tolist()}", "finite numbers", AGAIN)
    if not (np.isfinite(bounds).all() and (minimum <= maximum).all()):
        problems.append(f"its bounds {minimum.tolist()} to {maximum.tolist()} are no box")
    return scale, offset, minimum, maximum


def _records(path: Path, file: BinaryIO, first: int, count: int, end: int, extended: bool) -> list[Vlr]:
    """The (extended) variable length records between ``first`` and ``end``."""
    head, what = (EVLR_BYTES, "extended records") if extended else (VLR_BYTES, "records")
    room = max(0, end - first) // head
    if count > min(room, MOST_VLRS):
        raise PerceptionError(
            f"{path}: {count:,} variable length {what}", f"at most {min(room, MOST_VLRS):,}, as many as fit", AGAIN
        )
    records, position = [], first
    for number in range(count):
        file.seek(position)
        data = file.read(head)
        user, record, length = struct.unpack_from("<16sHQ" if extended else "<16sHH", data.ljust(head, b"\0"), 2)
        start = position + head
        if start + length > end:
            raise PerceptionError(
                f"{path}: variable length record {number} of {length:,} bytes reaches beyond byte {end:,}",
                "records that end before " + ("the file does" if extended else "the points begin"),
                AGAIN,
            )
        records.append(Vlr(user.split(b"\0")[0].decode("latin1"), record, start, length))
        position = start + length
    return records


def _value(file: BinaryIO, vlrs: list[Vlr], user: str, record: int) -> bytes:
    for vlr in vlrs:
        if (vlr.user, vlr.record) == (user, record) and vlr.length <= LONGEST_VALUE:
            file.seek(vlr.start)
            return file.read(vlr.length)
    return b""


def _check_points_fit(path: Path, size: int, points: int, points_offset: int, record_length: int) -> None:
    needed, present = points * record_length, size - points_offset
    if needed > present:
        raise truncated(path, f"{points:,} points of {record_length} bytes", needed, present)
