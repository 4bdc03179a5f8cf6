"""PointCloud2 messages without ROS: plain objects with a message's attributes, in the layouts of known drivers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

NUMBERS = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}

# Offsets and types as the drivers publish them: name -> (type, offset), and the bytes of a point.
LAYOUTS: dict[str, tuple[dict[str, tuple[str, int]], int]] = {
    "velodyne": (
        {
            "x": ("f4", 0),
            "y": ("f4", 4),
            "z": ("f4", 8),
            "intensity": ("f4", 12),
            "ring": ("u2", 16),
            "time": ("f4", 18),
        },
        22,
    ),
    "velodyne_pcl": (
        {"x": ("f4", 0), "y": ("f4", 4), "z": ("f4", 8), "intensity": ("f4", 16), "ring": ("u2", 20)},
        32,
    ),
    "ouster": (
        {
            "x": ("f4", 0),
            "y": ("f4", 4),
            "z": ("f4", 8),
            "intensity": ("f4", 16),
            "t": ("u4", 20),
            "reflectivity": ("u2", 24),
            "ring": ("u2", 26),
            "ambient": ("u2", 28),
            "range": ("u4", 32),
        },
        48,
    ),
    "hesai": (
        {
            "x": ("f4", 0),
            "y": ("f4", 4),
            "z": ("f4", 8),
            "intensity": ("f4", 16),
            "timestamp": ("f8", 24),
            "ring": ("u2", 32),
        },
        48,
    ),
    "livox": (
        {
            "x": ("f4", 0),
            "y": ("f4", 4),
            "z": ("f4", 8),
            "intensity": ("f4", 12),
            "tag": ("u1", 16),
            "line": ("u1", 17),
            "timestamp": ("f8", 18),
        },
        26,
    ),
    "robosense": (
        {
            "x": ("f4", 0),
            "y": ("f4", 4),
            "z": ("f4", 8),
            "intensity": ("u1", 12),
            "ring": ("u2", 13),
            "timestamp": ("f8", 15),
        },
        23,
    ),
    "bytes_first": ({"intensity": ("u1", 0), "z": ("f4", 3), "y": ("f4", 11), "x": ("f4", 29)}, 41),
    "uint16": ({"x": ("f4", 0), "y": ("f4", 4), "z": ("f4", 8), "intensity": ("u2", 12)}, 14),
    "doubles": ({"x": ("f8", 0), "y": ("f8", 8), "z": ("f8", 16), "intensity": ("f4", 24)}, 32),
    "mixed": ({"x": ("f4", 0), "y": ("f8", 8), "z": ("i2", 16)}, 18),
    "geometry": ({"x": ("f4", 0), "y": ("f4", 4), "z": ("f4", 8)}, 16),
}
STAMP = 1_700_000_000_250_000_000  # ns


def field(name: str, offset: int, datatype: int, count: int = 1) -> SimpleNamespace:
    return SimpleNamespace(name=name, offset=offset, datatype=datatype, count=count)


def message(
    columns: dict[str, np.ndarray],
    layout: str,
    height: int = 1,
    big_endian: bool = False,
    row_padding: int = 0,
    stamp: int = STAMP,
    frame: str = "lidar",
) -> SimpleNamespace:
    """``columns`` in a driver's layout; bytes between fields and rows are filled with noise."""
    places, step = LAYOUTS[layout]
    number = len(columns["x"])
    width = number // height
    generator = np.random.default_rng(3)
    data = generator.integers(0, 256, (height, width * step + row_padding), np.uint8)
    order = ">" if big_endian else "<"
    points = data[:, : width * step].reshape(height, width, step)
    for name, (kind, offset) in places.items():
        values = columns[name].astype(order + kind).reshape(height, width)
        size = values.dtype.itemsize
        points[:, :, offset : offset + size] = values.view(np.uint8).reshape(height, width, size)
    data[:, : width * step] = points.reshape(height, width * step)
    sec, nanosec = divmod(stamp, 10**9)
    header = SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec), frame_id=frame)
    return SimpleNamespace(
        header=header,
        height=height,
        width=width,
        fields=[field(name, offset, NUMBERS[kind]) for name, (kind, offset) in places.items()],
        is_bigendian=big_endian,
        point_step=step,
        row_step=width * step + row_padding,
        data=data.tobytes(),
        is_dense=True,
    )


def columns(number: int, seed: int = 0) -> dict[str, Any]:
    """Values for every field of every layout, exactly representable in all of their types."""
    generator = np.random.default_rng(seed)
    seconds = np.sort(generator.integers(0, 100_000, number)) * 1e-6
    return {
        "x": generator.integers(-70, 70, number) + 0.5,
        "y": generator.integers(-70, 70, number) + 0.25,
        "z": generator.integers(1, 9, number).astype(float),
        "intensity": generator.integers(0, 256, number),
        "reflectivity": generator.integers(0, 2**16, number),
        "ring": generator.integers(0, 128, number),
        "line": generator.integers(0, 6, number),
        "tag": generator.integers(0, 256, number),
        "ambient": generator.integers(0, 2**16, number),
        "range": generator.integers(0, 2**20, number),
        "time": seconds,
        "t": np.round(seconds * 1e9),
        "timestamp": STAMP / 1e9 + seconds,
    }
