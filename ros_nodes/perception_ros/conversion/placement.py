"""In which frame results are told: the cloud's, or another one through a rigid motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from perception_ros.conversion.messages import Messages
from perception_ros.conversion.stamps import parts_of
from perception_ros.core.poses import quaternion_of


@dataclass(frozen=True, eq=False)
class Placement:
    """``header`` for messages; ``pose`` (4, 4) takes points of the cloud to its frame, None for the cloud's own."""

    header: Any
    pose: np.ndarray | None = None

    def points(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in the frame of the header."""
        if self.pose is None:
            return points
        return points @ self.pose[:3, :3].T + self.pose[:3, 3]

    def turns(self, headings: np.ndarray) -> np.ndarray:
        """Quaternions (N, 4) x y z w of things turned by ``headings`` (N,) about the cloud's z axis."""
        half = np.asarray(headings, np.float64) / 2
        if self.pose is None:
            zero = np.zeros_like(half)
            return np.stack([zero, zero, np.sin(half), np.cos(half)], axis=-1)
        cos, sin = np.cos(2 * half), np.sin(2 * half)
        turn = np.zeros((len(half), 3, 3))
        turn[:, 0, 0], turn[:, 0, 1], turn[:, 1, 0], turn[:, 1, 1], turn[:, 2, 2] = cos, -sin, sin, cos, 1
        return quaternion_of(self.pose[:3, :3] @ turn) if len(half) else np.zeros((0, 4))


def header(messages: Messages, stamp: int, frame: str) -> Any:
    """A std_msgs/Header of a stamp in whole nanoseconds."""
    sec, nanosec = parts_of(stamp)
    time = messages.make("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)
    return messages.make("std_msgs/msg/Header", stamp=time, frame_id=frame)


def pose_message(messages: Messages, place: np.ndarray, turn: np.ndarray) -> Any:
    """A geometry_msgs/Pose of x y z and a quaternion x y z w."""
    x, y, z = (float(v) for v in place)
    a, b, c, d = (float(v) for v in turn)
    return messages.make(
        "geometry_msgs/msg/Pose",
        position=messages.make("geometry_msgs/msg/Point", x=x, y=y, z=z),
        orientation=messages.make("geometry_msgs/msg/Quaternion", x=a, y=b, z=c, w=d),
    )
