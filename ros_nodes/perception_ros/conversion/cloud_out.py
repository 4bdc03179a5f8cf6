"""PointCloud -> sensor_msgs/PointCloud2: x y z float32 and every field in its own type, tightly packed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from perception.errors import PerceptionError
from perception.points import PointCloud
from perception_ros.conversion.layout import NUMBERS
from perception_ros.conversion.messages import Messages

# Types that a PointField has no number for, and the one that takes their values.
WIDENED = {
    np.dtype(np.bool_): np.dtype(np.uint8),
    np.dtype(np.float16): np.dtype(np.float32),
    np.dtype(np.int64): np.dtype(np.float64),
    np.dtype(np.uint64): np.dtype(np.float64),
}


def cloud_message(
    messages: Messages, header: Any, cloud: PointCloud, fields: Mapping[str, np.ndarray] | None = None
) -> Any:
    """A cloud of one row. ``fields`` replace the cloud's own; arrays (N,) or (N, count).

    Coordinates far from their origin (UTM) are written as float64, others as float32.
    """
    far = bool(np.any(cloud.origin))
    columns: dict[str, np.ndarray] = {}
    points = cloud.world() if far else cloud.xyz
    for number, axis in enumerate("xyz"):
        columns[axis] = points[:, number]
    for name, values in (cloud.fields if fields is None else fields).items():
        if name not in columns:
            columns[name] = _storable(name, np.asarray(values), len(cloud))
    kind = np.dtype([(name, v.dtype, v.shape[1:]) for name, v in columns.items()])
    packed = np.empty(len(cloud), kind)
    for name, values in columns.items():
        packed[name] = values
    described = [
        messages.make(
            "sensor_msgs/msg/PointField",
            name=name,
            offset=int(kind.fields[name][1]),  # type: ignore[index]
            datatype=NUMBERS[values.dtype],
            count=int(np.prod(values.shape[1:], dtype=int)),
        )
        for name, values in columns.items()
    ]
    return messages.make(
        "sensor_msgs/msg/PointCloud2",
        header=header,
        height=1,
        width=len(cloud),
        fields=described,
        is_bigendian=False,
        point_step=kind.itemsize,
        row_step=kind.itemsize * len(cloud),
        data=messages.data(packed.view(np.uint8) if len(packed) else np.zeros(0, np.uint8)),
        is_dense=True,
    )


def _storable(name: str, values: np.ndarray, points: int) -> np.ndarray:
    values = values.astype(WIDENED.get(values.dtype, values.dtype.newbyteorder("=")), copy=False)
    if values.dtype not in NUMBERS or values.ndim not in (1, 2) or len(values) != points:
        raise PerceptionError(
            f"field {name!r} of type {values.dtype} and shape {values.shape}",
            f"numbers of one or two axes for {points} points",
            "leave the field out",
        )
    return values
