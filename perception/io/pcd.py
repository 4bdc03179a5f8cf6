"""PCD files of the Point Cloud Library: ascii, binary, binary_compressed (format: PCL documentation, version 0.7)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perception.errors import PerceptionError
from perception.io.assemble import assemble
from perception.io.lzf import lzf_decompress
from perception.io.source import checked_file, first_bytes, truncated
from perception.io.text_rows import read_text_rows
from perception.points import PointCloud

LONGEST_HEADER = 1 << 16
ENCODINGS = ("ascii", "binary", "binary_compressed")


@dataclass(frozen=True)
class PcdHeader:
    """``layout`` is the record of one point, fields named as in the file, padding fields included."""

    version: str
    layout: np.dtype
    padding: frozenset[str]
    width: int
    height: int
    points: int
    viewpoint: tuple[float, ...]
    encoding: str
    size: int


def read_pcd(path: Path) -> PointCloud:
    """A PCD file of any field order, types and counts; organised clouds are flattened row by row."""
    path, size = checked_file(path)
    header = read_pcd_header(path)
    with open(path, "rb") as file:
        file.seek(header.size)
        if header.encoding == "ascii":
            records = _ascii(path, file.read(), header)
        elif header.encoding == "binary":
            needed = header.points * header.layout.itemsize
            if needed > size - header.size:
                raise truncated(path, f"{header.points:,} points", needed, size - header.size)
            records = np.fromfile(file, header.layout, header.points)
        else:
            records = _compressed(path, np.fromfile(file, np.uint8), header)
    names = [name for name in header.layout.names or () if name not in header.padding]
    metadata = {
        "format": "pcd",
        "version": header.version,
        "encoding": header.encoding,
        "viewpoint": header.viewpoint,
        "width": header.width,
        "height": header.height,
    }
    return assemble({name: records[name] for name in names}, path=path, metadata=metadata)


def read_pcd_header(path: Path) -> PcdHeader:
    """The header, checked in itself; PerceptionError names the line at fault."""
    start = first_bytes(path, LONGEST_HEADER)
    lines, size = _header_lines(path, start)
    try:
        return _parse(path, lines, size)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise _wrong(path, f"unreadable ({error})") from None


def _header_lines(path: Path, start: bytes) -> tuple[dict[str, list[str]], int]:
    lines: dict[str, list[str]] = {}
    stream = io.BytesIO(start)
    while line := stream.readline():
        words = line.decode("latin1").split()
        if words and not words[0].startswith("#"):
            lines[words[0].upper()] = words[1:]
            if words[0].upper() == "DATA" and line.endswith(b"\n"):
                return lines, stream.tell()
    raise _wrong(path, "without a DATA line")


def _parse(path: Path, lines: dict[str, list[str]], size: int) -> PcdHeader:
    names = lines.get("FIELDS") or lines["COLUMNS"]  # COLUMNS: PCD before 0.5
    sizes, types = [int(s) for s in lines["SIZE"]], [t.upper() for t in lines["TYPE"]]
    counts = [int(c) for c in lines.get("COUNT", ["1"] * len(names))]
    if not len(names) == len(sizes) == len(types) == len(counts):
        raise _wrong(path, f"with {len(names)} fields, {len(sizes)} sizes, {len(types)} types, {len(counts)} counts")
    entries, padding, seen = [], set(), set()
    for number, (name, width, kind, count) in enumerate(zip(names, sizes, types, counts)):
        if (kind, width) not in {(k, w) for k in "IU" for w in (1, 2, 4, 8)} | {("F", 4), ("F", 8)}:
            raise _wrong(path, f"with the type {kind}{width} of field {name!r}")
        if not 1 <= count <= 1 << 16:
            raise _wrong(path, f"with a count of {count} for field {name!r}")
        unique = name if name != "_" and name not in seen else f"{name}#{number}"
        seen.add(name)
        padding |= {unique} if name == "_" else set()
        scalar = f"<{kind.lower()}{width}"
        entries.append((unique, scalar) if count == 1 else (unique, scalar, (count,)))
    width, height = int(lines["WIDTH"][0]), int(lines.get("HEIGHT", ["1"])[0])
    points = int(lines["POINTS"][0]) if "POINTS" in lines else width * height
    encoding = lines["DATA"][0].lower()
    if width < 0 or height < 0 or points != width * height:
        raise _wrong(path, f"with {points} points in {width} columns and {height} rows")
    if encoding not in ENCODINGS:
        raise _wrong(path, f"with data encoded as {encoding!r}")
    viewpoint = tuple(float(v) for v in lines.get("VIEWPOINT", list("0001000")))
    version = lines.get("VERSION", ["0.7"])[0]
    layout = np.dtype(entries)
    return PcdHeader(version, layout, frozenset(padding), width, height, points, viewpoint, encoding, size)


def _ascii(path: Path, text: bytes, header: PcdHeader) -> np.ndarray:
    stream = io.BytesIO(text)
    records = read_text_rows(path, stream, header.points, header.layout, len(text))
    if stream.read().strip():
        raise PerceptionError(
            f"{path} holds more than the {header.points:,} points of its header",
            "as many rows as POINTS says",
            "correct WIDTH, HEIGHT and POINTS",
        )
    return records


def _compressed(path: Path, data: np.ndarray, header: PcdHeader) -> np.ndarray:
    """Fields are stored one after the other (all x, all y, ...), which packs better than whole points."""
    size = header.points * header.layout.itemsize
    if header.points == 0:
        return np.zeros(0, header.layout)
    packed, unpacked = (int(n) for n in data[:8].view("<u4")) if len(data) >= 8 else (0, -1)
    if packed > len(data) - 8:
        raise truncated(path, "the compressed points", packed, len(data) - 8)
    if unpacked != size:
        raise PerceptionError(
            f"{path} unpacks to {unpacked:,} bytes", f"{size:,} for its {header.points:,} points", "copy it again"
        )
    try:
        columns = lzf_decompress(data[8 : 8 + packed], size)
    except PerceptionError as error:
        raise PerceptionError(f"{path}: {error.found}", error.expected, error.fix) from None
    records, start = np.empty(header.points, header.layout), 0
    for name in header.layout.names or ():
        kind = header.layout[name]
        end = start + kind.itemsize * header.points
        records[name] = columns[start:end].view(kind.base).reshape(records[name].shape)
        start = end
    return records


def _wrong(path: Path, problem: str) -> PerceptionError:
    return PerceptionError(
        f"{path}: a PCD header {problem}",
        "FIELDS, SIZE, TYPE, COUNT, WIDTH, HEIGHT, POINTS and DATA that agree",
        "write the file again",
    )
