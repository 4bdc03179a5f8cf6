"""Labels of the Waymo Open Dataset, v2 components lidar_box and lidar_hkp: boxes and joints in the vehicle's frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.datasets.sample import Objects
from perception.datasets.waymo.segment import STAMP
from perception.errors import PerceptionError

TYPES = {0: "Unknown", 1: "Vehicle", 2: "Pedestrian", 3: "Sign", 4: "Cyclist"}
# Joints of the lidar labels in the order of the keypoint benchmark, left before right, by their published numbers.
JOINTS = {
    "nose": 1,
    "left_shoulder": 5,
    "right_shoulder": 13,
    "left_elbow": 6,
    "right_elbow": 14,
    "left_wrist": 7,
    "right_wrist": 15,
    "left_hip": 8,
    "right_hip": 16,
    "left_knee": 9,
    "right_knee": 17,
    "left_ankle": 10,
    "right_ankle": 18,
    "head_centre": 20,
}
EASY, HARD = 1, 2
HARD_POINTS = 5

_BOX = "[LiDARBoxComponent]"
_GEOMETRY = tuple(
    f"{_BOX}.box.{k}" for k in ("center.x", "center.y", "center.z", "size.x", "size.y", "size.z", "heading")
)
_SPEED = tuple(f"{_BOX}.speed.{axis}" for axis in "xyz")
_TYPE, _DIFFICULTY = f"{_BOX}.type", f"{_BOX}.difficulty_level.detection"
_POINTS, _TOP_POINTS = f"{_BOX}.num_lidar_points_in_box", f"{_BOX}.num_top_lidar_points_in_box"
_TRACK = "key.laser_object_id"
BOX_COLUMNS = (STAMP, _TRACK, _TYPE, *_GEOMETRY, *_SPEED, _POINTS, _TOP_POINTS, _DIFFICULTY)

_JOINTS = "[LiDARHumanKeypointsComponent].lidar_keypoints[*]"
_JOINT_TYPE, _HIDDEN = f"{_JOINTS}.type", f"{_JOINTS}.keypoint_3d.visibility.is_occluded"
_LOCATION = tuple(f"{_JOINTS}.keypoint_3d.location_m.{axis}" for axis in "xyz")
JOINT_COLUMNS = (STAMP, _TRACK, _JOINT_TYPE, *_LOCATION, _HIDDEN)


def box_objects(rows: Sequence[dict[str, Any]], pose: np.ndarray, signs: bool, where: str) -> Objects:
    """Objects of the rows of a frame; ``pose`` (4, 4) turns the published speed, in world axes, into the vehicle's.

    Velocity is NaN where no speed is published. Attributes: ``track`` (str), ``points`` and ``top_points`` in the box
    as published, ``difficulty``: 2 where people marked it hard or it holds at most five points, else 1 (the
    evaluator's rule). Signs are left out unless ``signs``.
    """
    for row in rows:
        absent = [name for name in (_TRACK, _TYPE, *_GEOMETRY, _POINTS) if row[name] is None]
        if absent or int(row[_TYPE]) not in TYPES:
            found = f"no {absent[0]}" if absent else f"type {row[_TYPE]}"
            raise PerceptionError(f"{where}, object {row[_TRACK]}: {found}", "a whole box of a known type", "")
    rows = [row for row in rows if TYPES[int(row[_TYPE])] not in ("Unknown", *(() if signs else ("Sign",)))]
    boxes = np.array([[row[name] for name in _GEOMETRY] for row in rows], np.float64).reshape(-1, 7)
    bad = np.flatnonzero(~np.isfinite(boxes).all(1) | (boxes[:, 3:6] <= 0).any(1))
    if len(bad):
        raise PerceptionError(
            f"{where}, object {rows[bad[0]][_TRACK]}: box {boxes[bad[0]].tolist()}", "finite numbers, sizes above 0", ""
        )
    speed = np.array([[row[name] for name in _SPEED] for row in rows], np.float64).reshape(-1, 3)
    points = np.array([row[_POINTS] for row in rows], np.int64)
    marked = np.array([row[_DIFFICULTY] or 0 for row in rows], np.int64)
    attributes = {
        "track": np.array([row[_TRACK] for row in rows], str),
        "points": points,
        "top_points": np.array([row[_TOP_POINTS] or 0 for row in rows], np.int64),
        "difficulty": np.where(marked > 0, marked, np.where(points <= HARD_POINTS, HARD, EASY)),
    }
    velocity = torch.from_numpy((speed @ pose[:3, :3])[:, :2].astype(np.float32))
    names = np.array([TYPES[int(row[_TYPE])] for row in rows], str)
    return Objects(Boxes3D(torch.from_numpy(boxes.astype(np.float32)), velocity), names, attributes)


def joint_attributes(rows: Sequence[dict[str, Any]], tracks: np.ndarray, where: str) -> dict[str, np.ndarray]:
    """For objects by ``tracks`` (N,): ``keypoints`` (N, 14, 3) float32, NaN where not labelled, and
    ``keypoints_visible`` (N, 14) bool, in the order of ``JOINTS``."""
    keypoints = np.full((len(tracks), len(JOINTS), 3), np.nan, np.float32)
    visible = np.zeros((len(tracks), len(JOINTS)), bool)
    place = {number: i for i, number in enumerate(JOINTS.values())}
    row_of = {track: i for i, track in enumerate(tracks.tolist())}
    for row in rows:
        columns = [row[name] for name in (_JOINT_TYPE, *_LOCATION, _HIDDEN)]
        if any(column is None for column in columns) or len({len(column) for column in columns}) != 1:
            raise PerceptionError(f"{where}, object {row[_TRACK]}: columns of different lengths", "one row a joint", "")
        if row[_TRACK] not in row_of:
            continue
        here = row_of[row[_TRACK]]
        for number, x, y, z, hidden in zip(*columns):
            if int(number) in place:
                keypoints[here, place[int(number)]] = x, y, z
                visible[here, place[int(number)]] = not hidden
    return {"keypoints": keypoints, "keypoints_visible": visible}
