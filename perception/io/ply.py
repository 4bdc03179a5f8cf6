"""PLY files, ascii and binary of both byte orders: the vertices with all their scalar properties."""

from __future__ import annotations

import io
from collections import deque
from itertools import islice
from pathlib import Path

import numpy as np

from perception.errors import PerceptionError
from perception.io.assemble import assemble
from perception.io.ply_header import ENCODINGS, Element, PlyHeader, read_ply_header
from perception.io.ply_rows import row_starts
from perception.io.source import checked_file, truncated
from perception.io.text_rows import read_text_rows
from perception.points import PointCloud


def read_ply(path: Path) -> PointCloud:
    """The vertices of a PLY file. Other elements (faces, edges) are skipped, before and after the vertices.

    List properties of the vertices themselves are left out and named in ``metadata["skipped"]``.
    """
    path, size = checked_file(path)
    header = read_ply_header(path)
    vertex = next(e for e in header.elements if e.name == "vertex")
    read = _text if header.encoding == "ascii" else _binary
    columns = read(path, header, size) if vertex.rows else {p.name: np.zeros(0, p.kind) for p in vertex.properties}
    metadata = {
        "format": "ply",
        "encoding": header.encoding,
        "comments": header.comments,
        "skipped": tuple(p.name for p in vertex.properties if p.length is not None),
    }
    return assemble({n: _native(v) for n, v in columns.items()}, path=path, metadata=metadata)


def _binary(path: Path, header: PlyHeader, size: int) -> dict[str, np.ndarray]:
    offset = header.size
    for element in header.elements:
        layout, present = element.layout, size - offset
        if layout is None:
            columns, used = _list_rows(path, header, element, offset, present)
        else:
            used = element.rows * layout.itemsize
            if used > present:
                raise truncated(path, f"{element.rows:,} rows of {element.name}", used, present)
            columns = None
        if element.name == "vertex":
            if columns is not None or layout is None:
                return columns or {}
            records = np.fromfile(path, layout, element.rows, offset=offset)
            return {name: records[name] for name in layout.names or ()}
        offset += used
    raise AssertionError("the header has a vertex element")


def _list_rows(
    path: Path, header: PlyHeader, element: Element, offset: int, present: int
) -> tuple[dict[str, np.ndarray], int]:
    """The scalar columns of an element with lists, and the bytes it takes."""
    smallest = sum((p.length or p.kind).itemsize for p in element.properties)
    if element.rows * smallest > present:
        raise truncated(path, f"{element.rows:,} rows of {element.name}", element.rows * smallest, present)
    data = np.fromfile(path, np.uint8, present, offset=offset)
    widths = [(p.length.itemsize if p.length else 0, p.kind.itemsize) for p in element.properties]
    starts = row_starts(data, element.rows, widths, ENCODINGS[header.encoding] == ">")
    if starts is None:
        raise PerceptionError(
            f"{path}: the lists of element {element.name!r} reach beyond the end of the file",
            "a whole file",
            "copy or download the file again",
        )
    columns = {}
    if element.name == "vertex":
        for number, p in enumerate(element.properties):
            if p.length is None:
                bytes_of_value = starts[:-1, number, None] + np.arange(p.kind.itemsize)
                columns[p.name] = data[bytes_of_value].view(p.kind)[:, 0]
    return columns, int(starts[-1, 0])


def _text(path: Path, header: PlyHeader, size: int) -> dict[str, np.ndarray]:
    with open(path, "rb") as file:
        file.seek(header.size)
        stream = io.BytesIO(file.read())
    for element in header.elements:
        if element.name != "vertex":
            deque(islice(stream, element.rows), maxlen=0)
            continue
        layout = element.layout
        if layout is None:
            raise PerceptionError(
                f"{path}: an ASCII PLY file with lists in its vertices",
                "one number a property",
                "save it as a binary PLY file",
            )
        remaining = size - header.size - stream.tell()
        records = read_text_rows(path, stream, element.rows, layout, remaining)
        return {name: records[name] for name in records.dtype.names or ()}
    raise AssertionError("the header has a vertex element")


def _native(values: np.ndarray) -> np.ndarray:
    return values.astype(values.dtype.newbyteorder("="), copy=False)
