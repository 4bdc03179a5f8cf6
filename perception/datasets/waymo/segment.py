"""The tables of one Waymo segment: which frame has which rows of each component.

Published layout (v2): <split>/<component>/<segment>.parquet; columns are named key.<name> and [<Component>].<path>.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from perception.datasets.waymo.range_image import LaserCalibration
from perception.errors import PerceptionError
from perception.io.arrow import rows_by_value
from perception.io.parquet import ParquetRows

LAYOUT = "<root>/<split>/{lidar,lidar_calibration,lidar_pose,vehicle_pose,lidar_box}/<segment>.parquet"
STAMP = "key.frame_timestamp_micros"
LASER = "key.laser_name"
LASERS = {1: "top", 2: "front", 3: "side_left", 4: "side_right", 5: "rear"}
TOP = 1

RETURNS = ("[LiDARComponent].range_image_return1", "[LiDARComponent].range_image_return2")
PIXEL_POSE = "[LiDARPoseComponent].range_image_return1"
_VEHICLE_POSE = "[VehiclePoseComponent].world_from_vehicle.transform"
_EXTRINSIC = "[LiDARCalibrationComponent].extrinsic.transform"
_BEAMS = "[LiDARCalibrationComponent].beam_inclination"
_STATS = tuple(f"[StatsComponent].{name}" for name in ("time_of_day", "location", "weather"))


class Component:
    """One component of a segment: its rows by frame, each read when asked for."""

    def __init__(self, split: Path, name: str, segment: str, columns: tuple[str, ...]) -> None:
        path = split / name / f"{segment}.parquet"
        if not path.is_file():
            raise PerceptionError(
                f"no file {path}", f"the component {name} of every segment: {LAYOUT}", f"download {name} as well"
            )
        self.path = path
        # Of range images a frame's at once, of labels all of a segment.
        at_once = len(LASERS) if any(column.endswith(".shape") for column in columns) else 1 << 16
        self._rows = ParquetRows(path, columns, f"the component {name}", "waymo", at_once)

    @cached_property
    def by_stamp(self) -> dict[int, np.ndarray]:
        """Row numbers of each frame, by its stamp in microseconds."""
        return rows_by_value(self._rows.keys({STAMP: "integer"})[STAMP])

    def at(self, stamp: int) -> list[dict[str, Any]]:
        """The rows of a frame, none where it has none."""
        numbers = self.by_stamp.get(stamp)
        return [] if numbers is None else [row for _, row in self._rows.rows(numbers)]

    def all(self) -> list[dict[str, Any]]:
        """Every row, of components that have one a laser."""
        return [row for _, row in self._rows.rows(np.arange(self._rows.count))]

    def close(self) -> None:
        """Let go of the open file."""
        self._rows.close()


def range_image_columns(prefix: str) -> tuple[str, str]:
    """The two columns of a range image."""
    return f"{prefix}.values", f"{prefix}.shape"


def read_calibrations(split: Path, segment: str) -> dict[int, LaserCalibration]:
    """Calibration of each laser of a segment by its number."""
    names = (LASER, _EXTRINSIC, f"{_BEAMS}.min", f"{_BEAMS}.max", f"{_BEAMS}.values")
    component = Component(split, "lidar_calibration", segment, names)
    found = {}
    for row in component.all():
        where = f"{component.path}, laser {row[LASER]}"
        lowest, highest = (np.nan if row[name] is None else float(row[name]) for name in names[2:4])
        beams = row[names[4]]
        beams = None if beams is None or not len(beams) else np.asarray(beams, np.float64)
        if beams is not None and not np.isfinite(beams).all():
            raise PerceptionError(f"{where}: a beam inclination is not finite", "angles in radians", "")
        found[int(row[LASER])] = LaserCalibration(matrix_of(row[_EXTRINSIC], where), lowest, highest, beams)
    return found


def read_vehicle_poses(split: Path, segment: str) -> dict[int, np.ndarray]:
    """Poses (4, 4) from the vehicle's frame to the world's by stamp in microseconds."""
    component = Component(split, "vehicle_pose", segment, (STAMP, _VEHICLE_POSE))
    return {int(row[STAMP]): matrix_of(row[_VEHICLE_POSE], str(component.path)) for row in component.all()}


def read_stats(split: Path, segment: str) -> dict[int, Mapping[str, str]]:
    """Time of day, place and weather of each frame by stamp; none where the component is not there."""
    if not (split / "stats" / f"{segment}.parquet").is_file():
        return {}
    rows = Component(split, "stats", segment, (STAMP, *_STATS)).all()
    return {int(row[STAMP]): {name.rpartition(".")[2]: str(row[name]) for name in _STATS} for row in rows}


def matrix_of(values: Any, where: str) -> np.ndarray:
    """A rigid motion (4, 4) float64 from its 16 numbers, row by row."""
    matrix = np.zeros(0) if values is None else np.asarray(values, np.float64)
    if matrix.shape == (16,) and np.isfinite(matrix).all():
        matrix = matrix.reshape(4, 4)
        turn = matrix[:3, :3]
        if np.abs(turn @ turn.T - np.eye(3)).max() < 1e-3 and np.allclose(matrix[3], [0, 0, 0, 1]):
            return matrix
    raise PerceptionError(f"{where}: transform {matrix.ravel()[:16].tolist()}", "16 numbers of a rigid motion", "")
