"""GPS/IMU records and time stamps of KITTI raw drives.

Geiger, Lenz, Stiller, Urtasun, "Vision meets Robotics: The KITTI Dataset", IJRR 2013, and the raw data development
kit (dataformat.txt for the columns; the Mercator projection with the scale of the drive's first latitude).
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from perception.datasets.kitti.text import MEGABYTE, read_text
from perception.errors import PerceptionError

EARTH_RADIUS = 6378137.0  # metres, the equatorial radius of WGS 84
_STAMP = re.compile(r"(\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2})(\.\d{1,9})?")


def read_oxts(path: str | Path) -> np.ndarray:
    """Latitude and longitude (degrees), altitude (m), roll, pitch and yaw (rad) of one ``oxts/data`` file: (6,)."""
    text = read_text(path, "a GPS/IMU record of 30 numbers")
    try:
        record = np.array(text.split(), dtype=np.float64)
    except ValueError:
        record = np.zeros(0)
    if len(record) < 6 or not np.isfinite(record[:6]).all() or abs(record[0]) >= 90:
        raise PerceptionError(
            f"{path} holds {text[:60]!r}",
            "latitude, longitude, altitude, roll, pitch, yaw and 24 more numbers",
            "the file is damaged: download it again",
        )
    return record[:6]


def oxts_poses(records: np.ndarray) -> np.ndarray:
    """Poses (N, 4, 4) float64 of the GPS/IMU unit, relative to the first one, of records (N, 6) as ``read_oxts`` reads.

    Position by Mercator projection with scale cos(first latitude), rotation Rz(yaw) Ry(pitch) Rx(roll).
    """
    records = np.asarray(records, dtype=np.float64).reshape(-1, 6)
    if not len(records):
        return np.zeros((0, 4, 4))
    latitude, longitude, altitude, roll, pitch, yaw = records.T
    scale = np.cos(np.radians(latitude[0]))
    poses = np.tile(np.eye(4), (len(records), 1, 1))
    poses[:, 0, 3] = scale * EARTH_RADIUS * np.radians(longitude)
    poses[:, 1, 3] = scale * EARTH_RADIUS * np.log(np.tan(np.radians(90 + latitude) / 2))
    poses[:, 2, 3] = altitude
    poses[:, :3, :3] = _rotation(yaw, (0, 1)) @ _rotation(pitch, (2, 0)) @ _rotation(roll, (1, 2))
    return np.linalg.inv(poses[0]) @ poses


def read_timestamps(path: str | Path) -> np.ndarray:
    """Seconds since 1970 (N,) float64 of a ``timestamps.txt``, one a line.

    The files name no time zone; the clock is read as UTC. A drive's missing scans leave empty lines or gaps: NaN.
    """
    lines = read_text(path, "time stamps, one a line", limit=16 * MEGABYTE).splitlines()
    return np.array([_seconds(line.strip(), number, path) for number, line in enumerate(lines, start=1)])


def _seconds(line: str, number: int, path: str | Path) -> float:
    if not line:
        return float("nan")
    match = _STAMP.fullmatch(line)
    try:
        if match is None:
            raise ValueError(line)
        whole = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError:
        raise PerceptionError(
            f"{path}, line {number}: {line[:60]!r}", "a time such as 2011-09-26 13:02:25.951199337"
        ) from None
    return whole.timestamp() + float(match[2] or 0)


def _rotation(angle: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
    """Rotations (N, 3, 3) by ``angle`` that turn the first of ``axes`` towards the second."""
    first, second = axes
    matrices = np.tile(np.eye(3), (len(angle), 1, 1))
    matrices[:, first, first] = matrices[:, second, second] = np.cos(angle)
    matrices[:, first, second] = -np.sin(angle)
    matrices[:, second, first] = np.sin(angle)
    return matrices
