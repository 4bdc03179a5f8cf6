"""Waymo segments (v2, Parquet) for tests, made from points in the world: shares no code with the reader.

The vehicle drives along a curve; the top lidar turns once a frame, so that each of its columns has another pose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

START = 1_552_440_195_362_591
SEGMENT = "10023947602400723454_1120_000_1140_000"
FLOATS, SIZE = pa.list_(pa.float32()), pa.list_(pa.int32(), 3)
MATRIX = pa.list_(pa.float64(), 16)


def turn(axis: str, angle: float) -> np.ndarray:
    """4 x 4 rotation about an axis."""
    c, s = math.cos(angle), math.sin(angle)
    rows = {
        "x": [[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]],
        "y": [[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1]],
        "z": [[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
    }
    return np.array(rows[axis], float)


def shift(x: float, y: float, z: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def motion(seconds: float) -> tuple[float, float, float, float, float, float]:
    """Roll, pitch, yaw, x, y, z of the vehicle in the world."""
    return 0.01, -0.02, 0.7 + 0.3 * seconds, 1000 + 12 * seconds, -300 + 5 * seconds, 40.0


def pose(seconds: float) -> np.ndarray:
    roll, pitch, yaw, x, y, z = motion(seconds)
    return shift(x, y, z) @ turn("z", yaw) @ turn("y", pitch) @ turn("x", roll)


@dataclass
class Laser:
    """``beams`` in radians, lowest first; ``listed`` whether the file lists them or only their limits."""

    number: int
    mounting: np.ndarray
    beams: np.ndarray
    width: int
    listed: bool = True
    rolling: bool = False

    @property
    def height(self) -> int:
        return len(self.beams)

    def seconds(self, column: float) -> float:
        """When a column is measured, relative to the frame's stamp."""
        return (column / self.width - 0.5) * 0.1 if self.rolling else 0.0

    def pixel(self, world: np.ndarray, frame_seconds: float) -> tuple[float, float, float]:
        """Fractional row and column, and distance, at which a point of the world is seen."""
        column = 0.0
        for _ in range(20):  # the pose depends on the column, and the column on the pose
            vehicle = np.linalg.inv(pose(frame_seconds + self.seconds(column)))
            x, y, z, _ = np.linalg.inv(self.mounting) @ vehicle @ np.append(world, 1.0)
            azimuth = math.atan2(y, x) + math.atan2(self.mounting[1, 0], self.mounting[0, 0])
            column = ((math.pi - azimuth) / (2 * math.pi) * self.width - 0.5) % self.width
        elevation = math.atan2(z, math.hypot(x, y))
        row = np.interp(-elevation, -self.beams[::-1], np.arange(self.height))
        return float(row), column, math.sqrt(x * x + y * y + z * z)


def even_beams(low: float, high: float, count: int) -> np.ndarray:
    return low + (np.arange(count) + 0.5) * (high - low) / count


def default_lasers() -> list[Laser]:
    top = np.sort(np.concatenate([np.linspace(-0.3, -0.05, 24), np.linspace(-0.04, 0.04, 16)]))
    others = [
        Laser(number, shift(x, y, 0.7) @ turn("z", yaw) @ turn("y", 0.02), even_beams(-1.2, 0.5, 40), 90, listed=False)
        for number, x, y, yaw in ((2, 4.0, 0.0, 0.0), (3, 3.2, 1.0, 1.6), (4, 3.2, -1.0, -1.6), (5, -1.1, 0.0, 3.1))
    ]
    return [Laser(1, shift(1.4, 0, 2.2) @ turn("z", 2.6) @ turn("x", 0.01), top, 600, rolling=True), *others]


@dataclass
class Frame:
    """Images (H, W, 4) by laser and return; label rows as dicts of short names."""

    stamp: int
    seconds: float
    images: dict[int, list[np.ndarray]]
    boxes: list[dict] = field(default_factory=list)
    joints: list[dict] = field(default_factory=list)


def empty_images(lasers: list[Laser]) -> dict[int, list[np.ndarray]]:
    return {laser.number: [np.full((laser.height, laser.width, 4), -1, np.float32) for _ in "12"] for laser in lasers}


def box(track: str, kind: int, centre=(10, 2, 1), size=(4, 2, 1.5), heading=0.3, **more) -> dict:
    return {
        "track": track,
        "type": kind,
        "centre": centre,
        "size": size,
        "heading": heading,
        "speed": (3.0, 4.0, 0.0),
        "points": 20,
        "difficulty": 0,
        **more,
    }


def frames_of(lasers, count=3, share=0.05, seed=0):
    """Frames whose pixels have an echo with a given probability, and other values that name the pixel."""
    rng = np.random.Generator(np.random.PCG64(seed))
    frames = []
    for number in range(count):
        images = empty_images(lasers)
        for pair in images.values():
            for image in pair:
                hit = rng.random(image.shape[:2]) < share
                image[hit, 0] = rng.uniform(3, 60, hit.sum())
                image[hit, 1:3] = rng.uniform(0, 3, (hit.sum(), 2))
                image[hit, 3] = np.where(rng.random(hit.sum()) < 0.1, 1, -1)
        boxes = [box("car", 1), box("sign", 3), box("man", 2, (5, -3, 1), (0.9, 0.8, 1.8))] if number != 1 else []
        frames.append(Frame(START + number * 100_000, number * 0.1, images, boxes))
    return frames


def write_segment(split: Path, lasers: list[Laser], frames: list[Frame], rows: int = 1 << 20, seed: int | None = None):
    """All components of one segment; ``rows`` in a row group, rows of range images shuffled by ``seed``."""
    order = np.arange(len(frames) * len(lasers))
    if seed is not None:
        order = np.random.Generator(np.random.PCG64(seed)).permutation(order)
    _write(split, "lidar", _lidar(lasers, frames).take(order), rows)
    _write(split, "lidar_pose", _lidar_pose(lasers, frames), rows)
    _write(split, "lidar_calibration", _calibration(lasers), rows)
    poses = {
        **_keys([f.stamp for f in frames]),
        "[VehiclePoseComponent].world_from_vehicle.transform": pa.array(
            [pose(f.seconds).ravel().tolist() for f in frames], MATRIX
        ),
    }
    _write(split, "vehicle_pose", pa.table(poses), rows)
    stats = {f"[StatsComponent].{k}": [v] * len(frames) for k, v in zip(("time_of_day", "location", "weather"), "abc")}
    _write(split, "stats", pa.table({**_keys([f.stamp for f in frames]), **stats}), rows)
    _write(split, "lidar_box", _boxes(frames), rows)
    _write(split, "lidar_hkp", _joints(frames), rows)


def change(split: Path, component: str, edit) -> None:
    """Write a component again with ``edit`` applied to its table."""
    path = split / component / f"{SEGMENT}.parquet"
    parquet.write_table(edit(parquet.read_table(path)), path)


def _write(split: Path, component: str, table: pa.Table, rows: int) -> None:
    (split / component).mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, split / component / f"{SEGMENT}.parquet", row_group_size=rows)


def _keys(stamps: list[int]) -> dict:
    return {
        "key.segment_context_name": pa.array([SEGMENT] * len(stamps), pa.string()),
        "key.frame_timestamp_micros": pa.array(stamps, pa.int64()),
    }


def _image(prefix: str, images: list[np.ndarray]) -> dict:
    return {
        f"{prefix}.values": pa.array([i.ravel() for i in images], FLOATS),
        f"{prefix}.shape": pa.array([list(i.shape) for i in images], SIZE),
    }


def _lidar(lasers: list[Laser], frames: list[Frame]) -> pa.Table:
    both = [(frame, laser.number) for frame in frames for laser in lasers]
    columns = {**_keys([f.stamp for f, _ in both]), "key.laser_name": pa.array([n for _, n in both], pa.int8())}
    for echo in (0, 1):
        columns |= _image(f"[LiDARComponent].range_image_return{echo + 1}", [f.images[n][echo] for f, n in both])
    return pa.table(columns)


def _lidar_pose(lasers: list[Laser], frames: list[Frame]) -> pa.Table:
    both = [(frame, laser) for frame in frames for laser in lasers if laser.rolling]
    images = []
    for frame, laser in both:
        row = [motion(frame.seconds + laser.seconds(column)) for column in range(laser.width)]
        images.append(np.tile(np.array(row, np.float32), (laser.height, 1, 1)))
    keys = {**_keys([f.stamp for f, _ in both]), "key.laser_name": pa.array([x.number for _, x in both], pa.int8())}
    return pa.table({**keys, **_image("[LiDARPoseComponent].range_image_return1", images)})


def _calibration(lasers: list[Laser]) -> pa.Table:
    prefix = "[LiDARCalibrationComponent]"
    step = [laser.beams[1] - laser.beams[0] for laser in lasers]
    return pa.table(
        {
            "key.segment_context_name": [SEGMENT] * len(lasers),
            "key.laser_name": pa.array([laser.number for laser in lasers], pa.int8()),
            f"{prefix}.extrinsic.transform": pa.array([laser.mounting.ravel().tolist() for laser in lasers], MATRIX),
            f"{prefix}.beam_inclination.min": [x.beams[0] - s / 2 for x, s in zip(lasers, step)],
            f"{prefix}.beam_inclination.max": [x.beams[-1] + s / 2 for x, s in zip(lasers, step)],
            f"{prefix}.beam_inclination.values": pa.array(
                [x.beams.tolist() if x.listed else None for x in lasers], pa.list_(pa.float64())
            ),
        }
    )


def _boxes(frames: list[Frame]) -> pa.Table:
    rows = [(frame.stamp, b) for frame in frames for b in frame.boxes]
    prefix = "[LiDARBoxComponent]"
    columns = {**_keys([stamp for stamp, _ in rows]), "key.laser_object_id": pa.array([b["track"] for _, b in rows])}
    for name, key in (("center", "centre"), ("size", "size")):
        for i, axis in enumerate("xyz"):
            columns[f"{prefix}.box.{name}.{axis}"] = pa.array([float(b[key][i]) for _, b in rows], pa.float64())
    columns[f"{prefix}.box.heading"] = pa.array([b["heading"] for _, b in rows], pa.float64())
    columns[f"{prefix}.type"] = pa.array([b["type"] for _, b in rows], pa.int8())
    for name in ("num_lidar_points_in_box", "num_top_lidar_points_in_box"):
        columns[f"{prefix}.{name}"] = pa.array([b["points"] for _, b in rows], pa.int64())
    for name in ("speed", "acceleration"):
        for i, axis in enumerate("xyz"):
            values = [None if b["speed"] is None else b["speed"][i] for _, b in rows]
            columns[f"{prefix}.{name}.{axis}"] = pa.array(values, pa.float64())
    for name in ("detection", "tracking"):
        columns[f"{prefix}.difficulty_level.{name}"] = pa.array([b["difficulty"] for _, b in rows], pa.int8())
    return pa.table(columns)


def _joints(frames: list[Frame]) -> pa.Table:
    rows = [(frame.stamp, j) for frame in frames for j in frame.joints]
    prefix = "[LiDARHumanKeypointsComponent].lidar_keypoints[*]"
    location = f"{prefix}.keypoint_3d.location_m"
    numbers = pa.list_(pa.float64())
    return pa.table(
        {
            **_keys([stamp for stamp, _ in rows]),
            "key.laser_object_id": pa.array([j["track"] for _, j in rows], pa.string()),
            f"{prefix}.type": pa.array([list(j["joints"]) for _, j in rows], pa.list_(pa.int8())),
            **{
                f"{location}.{axis}": pa.array([[p[i] for p in j["joints"].values()] for _, j in rows], numbers)
                for i, axis in enumerate("xyz")
            },
            f"{prefix}.keypoint_3d.visibility.is_occluded": pa.array(
                [[n in j["hidden"] for n in j["joints"]] for _, j in rows], pa.list_(pa.bool_())
            ),
        }
    )
