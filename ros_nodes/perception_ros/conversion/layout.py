"""How the points of a sensor_msgs/PointCloud2 lie in its bytes, checked before anything is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from perception.errors import PerceptionError

# sensor_msgs/PointField: number -> NumPy type without its byte order.
DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
NUMBERS = {np.dtype(kind): number for number, kind in DATATYPES.items()}
PADDING = ("", "_")  # names that PCL and Ouster's driver give to bytes between fields


@dataclass(frozen=True)
class Column:
    """A field's place in each point: ``kind`` with its byte order, ``count`` values from byte ``offset`` on."""

    name: str
    offset: int
    kind: np.dtype[Any]
    count: int


@dataclass(frozen=True)
class Layout:
    """``columns`` by name, ``height`` rows of ``width`` points of ``point_step`` bytes, ``row_step`` bytes apart."""

    columns: dict[str, Column]
    height: int
    width: int
    point_step: int
    row_step: int

    def __len__(self) -> int:
        return self.height * self.width

    def view(self, data: memoryview | np.ndarray, name: str) -> np.ndarray:
        """The values of a field: (height, width), or (height, width, count), in place, nothing copied."""
        column = self.columns[name]
        shape: tuple[int, ...] = (self.height, self.width)
        strides: tuple[int, ...] = (self.row_step, self.point_step)
        if column.count > 1:
            shape, strides = (*shape, column.count), (*strides, column.kind.itemsize)
        return np.ndarray(shape, column.kind, data, column.offset, strides)  # type: ignore[arg-type]

    def triple(self, data: memoryview | np.ndarray, names: tuple[str, str, str]) -> np.ndarray | None:
        """Three fields as (height, width, 3) in place, where they are of one type and equally spaced."""
        first, second, third = (self.columns[name] for name in names)
        gap = second.offset - first.offset
        alike = first.kind == second.kind == third.kind and third.offset - second.offset == gap
        if not alike or gap < first.kind.itemsize or any(c.count > 1 for c in (first, second, third)):
            return None
        strides = (self.row_step, self.point_step, gap)
        return np.ndarray((self.height, self.width, 3), first.kind, data, first.offset, strides)  # type: ignore[arg-type]


def layout_of(message: Any, size: int) -> Layout:
    """The layout that ``message`` states, for ``size`` bytes of data.

    Raises PerceptionError where the fields or the data are not what the message says.
    """
    height, width, step, row = (int(getattr(message, n)) for n in ("height", "width", "point_step", "row_step"))
    if min(height, width, step, row) < 0:
        raise PerceptionError(f"a cloud of {height} x {width} points of {step} bytes", "numbers of at least 0")
    order = ">" if message.is_bigendian else "<"
    columns = {}
    for field in message.fields:
        if field.name not in PADDING:
            columns[field.name] = _column(field, order)
    if height * width == 0:
        return Layout(columns, 0, 0, max(step, 1), max(row, 1))
    if step == 0:
        raise PerceptionError(f"{height} x {width} points of 0 bytes", "a point_step above 0", "check the driver")
    for column in columns.values():
        end = column.offset + column.kind.itemsize * column.count
        if end > step:
            raise PerceptionError(
                f"field {column.name!r} ends at byte {end} of points of {step} bytes",
                "fields inside point_step",
                "check the driver's PointField offsets",
            )
    if height == 1 or row == 0:
        row = width * step  # some drivers leave row_step out, and a single row needs none
    if row < width * step:
        raise PerceptionError(
            f"row_step {row} for {width} points of {step} bytes", f"{width * step} bytes or more", "check the driver"
        )
    needed = (height - 1) * row + width * step
    if needed > size:
        raise PerceptionError(
            f"{size:,} bytes of data for {height} x {width} points of {step} bytes",
            f"{needed:,} bytes",
            "the cloud was cut short: check the driver and the transport",
        )
    return Layout(columns, height, width, step, row)


def _column(field: Any, order: str) -> Column:
    number = int(field.datatype)
    if number not in DATATYPES:
        raise PerceptionError(
            f"field {field.name!r} of datatype {number}", "1 to 8, as sensor_msgs/PointField has them"
        )
    # Old PCL writes count 0 for a single value.
    return Column(field.name, int(field.offset), np.dtype(order + DATATYPES[number]), max(int(field.count), 1))
