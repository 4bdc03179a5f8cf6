"""Boxes as the Waymo Open evaluator and its server exchange them: a file of ``Objects`` messages.

The wire format is Protocol Buffers' own (tag = field number x 8 + kind); field numbers are those of the published
metrics.proto and label.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perception.datasets.waymo.labels import TYPES
from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.io.source import checked_file
from perception.results import Detections

_BOX_FIELDS = (1, 2, 3, 5, 4, 6, 7)  # x y z length width height heading; width has the lower number
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LARGEST = 2 << 30


@dataclass(frozen=True, eq=False)
class WaymoObjects:
    """N boxes of many frames: ``frames`` (N,) str ``<segment>/<stamp in microseconds>``, ``boxes`` (N, 7) float64,
    ``names``, ``scores`` float32 (1 where none is given), ``points``, ``difficulty`` and ``in_no_label_zone``."""

    frames: np.ndarray
    boxes: np.ndarray
    names: np.ndarray
    scores: np.ndarray
    points: np.ndarray
    difficulty: np.ndarray
    in_no_label_zone: np.ndarray


def read_objects(path: str | Path) -> WaymoObjects:
    """The boxes of a file of predictions or of ground truth; PerceptionError where it is damaged."""
    path, size = checked_file(path)
    if size > _LARGEST:
        raise PerceptionError(f"{path} has {size:,} bytes", f"at most {_LARGEST:,}", "split it")
    data = path.read_bytes()
    rows = []
    try:
        for number, value in _fields(data):
            if number == 1:
                rows.append(_row(value))
    except (KeyError, IndexError, struct.error, TypeError, ValueError, AttributeError):  # cut short, or another file
        raise PerceptionError(f"{path} is no file of Objects messages", "as published", "write it again") from None
    columns = zip(*rows) if rows else [()] * 7
    kinds = (str, np.float64, str, np.float32, np.int64, np.int64, bool)
    frames, boxes, *others = (np.array(column, kind) for column, kind in zip(columns, kinds))
    return WaymoObjects(frames, boxes.reshape(-1, 7), *others)


def write_results(path: str | Path, frames: Iterable[tuple[str, Detections]]) -> None:
    """Write detections by the identifier of their frame (``<segment>/<stamp in microseconds>``), atomically."""
    numbers = {name: number for number, name in TYPES.items() if number}
    with write_atomically(path) as file:
        for identifier, found in frames:
            segment, _, stamp = identifier.rpartition("/")
            absent = [name for name in found.names if name not in numbers]
            if not segment or not stamp.isdecimal() or absent:
                what = f"class {absent[0]!r}" if absent else f"identifier {identifier!r}"
                raise PerceptionError(what, f"one of {', '.join(numbers)}, and <segment>/<stamp>", "")
            for box, score, name in zip(found.boxes.values.double().tolist(), found.scores.tolist(), found.names):
                shape = b"".join(_tag(n, _FIXED64) + struct.pack("<d", v) for n, v in zip(_BOX_FIELDS, box))
                label = _nested(1, shape) + _tag(3, _VARINT) + _varint(numbers[name])
                place = _nested(4, segment.encode()) + _tag(5, _VARINT) + _varint(int(stamp))
                file.write(_nested(1, _nested(1, label) + _tag(2, _FIXED32) + struct.pack("<f", score) + place))


def _row(message: bytes) -> tuple[str, list[float], str, float, int, int, bool]:
    whole = dict(_fields(message))
    label = dict(_fields(whole[1]))
    box = dict(_fields(label[1]))
    segment = bytes(whole.get(4, b"")).decode()
    shape = [float(box.get(number, 0.0)) for number in _BOX_FIELDS]
    name = TYPES[label.get(3, 0)]
    score = float(whole.get(2, 1.0))
    return (
        f"{segment}/{whole.get(5, 0)}",
        shape,
        name,
        score,
        int(label.get(7, 0)),
        int(label.get(5, 0)),
        bool(whole.get(3, 0)),
    )


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(field number, value) of a message: whole numbers, float64, float32 or bytes."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        kind = tag & 7
        value: Any
        if kind == _VARINT:
            value, at = _read_varint(data, at)
        elif kind == _FIXED64:
            (value,), at = struct.unpack_from("<d", data, at), at + 8
        elif kind == _FIXED32:
            (value,), at = struct.unpack_from("<f", data, at), at + 4
        elif kind == _BYTES:
            length, at = _read_varint(data, at)
            value, at = data[at : at + length], at + length
            if at > len(data):
                raise ValueError("a message ends early")
        else:
            raise ValueError(f"kind {kind}")
        yield tag >> 3, value


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _tag(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _nested(number: int, content: bytes) -> bytes:
    return _tag(number, _BYTES) + _varint(len(content)) + content
