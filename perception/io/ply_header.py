"""The header of a PLY file (format: G. Turk, The PLY Polygon File Format, 1994): elements, properties, encoding."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perception.errors import PerceptionError
from perception.io.source import first_bytes

LONGEST_HEADER = 1 << 18
TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "int64": "i8", "uint64": "u8", "float32": "f4", "float64": "f8",
}  # fmt: skip
ENCODINGS = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Property:
    """A value of every row; ``length`` is the type of the length where the value is a list, else None."""

    name: str
    kind: np.dtype
    length: np.dtype | None = None


@dataclass(frozen=True)
class Element:
    name: str
    rows: int
    properties: tuple[Property, ...]

    @property
    def layout(self) -> np.dtype | None:
        """The record of a row, or None where lists make rows differ in length."""
        if any(p.length is not None for p in self.properties):
            return None
        return np.dtype([(p.name, p.kind) for p in self.properties])


@dataclass(frozen=True)
class PlyHeader:
    encoding: str
    elements: tuple[Element, ...]
    comments: tuple[str, ...]
    size: int


def read_ply_header(path: Path) -> PlyHeader:
    """The checked header; PerceptionError names what is wrong with it."""
    stream = io.BytesIO(first_bytes(path, LONGEST_HEADER))
    encoding = ""
    comments: list[str] = []
    elements: list[tuple[str, int, list[Property]]] = []
    if stream.readline().strip() != b"ply":
        raise _wrong(path, "its first line is not 'ply'")
    while line := stream.readline():
        words = line.decode("utf-8", "replace").split()
        try:
            if not words:
                continue
            if words[0] == "end_header":
                return _finished(path, encoding, elements, comments, stream.tell())
            if words[0] == "format":
                encoding = words[1]
            elif words[0] in ("comment", "obj_info"):
                comments.append(" ".join(words[1:]))
            elif words[0] == "element":
                elements.append((words[1], int(words[2]), []))
            elif words[0] == "property":
                elements[-1][2].append(_property(words, ENCODINGS[encoding]))
            else:
                raise _wrong(path, f"unknown line {words[0][:40]!r}")
        except (IndexError, KeyError, ValueError) as error:
            raise _wrong(path, f"the line {' '.join(words)[:80]!r} ({type(error).__name__}: {error})") from None
    raise _wrong(path, "no end_header")


def _property(words: list[str], order: str) -> Property:
    if words[1] == "list":
        return Property(words[4], np.dtype(order + TYPES[words[3]]), np.dtype(order + TYPES[words[2]]))
    return Property(words[2], np.dtype(order + TYPES[words[1]]))


def _finished(
    path: Path, encoding: str, elements: list[tuple[str, int, list[Property]]], comments: list[str], size: int
) -> PlyHeader:
    if encoding not in ENCODINGS:
        raise _wrong(path, f"the encoding {encoding!r}")
    for name, rows, properties in elements:
        names = [p.name for p in properties]
        if rows < 0 or (rows and not properties) or len(set(names)) < len(names):
            raise _wrong(path, f"element {name!r} with {rows} rows of the properties {', '.join(names) or '(none)'}")
        if any(p.length is not None and p.length.kind == "f" for p in properties):
            raise _wrong(path, f"a list of fractional length in element {name!r}")
    if sum(name == "vertex" for name, _, _ in elements) != 1:
        raise _wrong(path, f"the elements {', '.join(e[0] for e in elements) or '(none)'}, not one called vertex")
    return PlyHeader(encoding, tuple(Element(n, r, tuple(p)) for n, r, p in elements), tuple(comments), size)


def _wrong(path: Path, problem: str) -> PerceptionError:
    return PerceptionError(
        f"{path}: a PLY header with a fault: {problem}",
        "format, element and property lines up to end_header",
        "write the file again",
    )
