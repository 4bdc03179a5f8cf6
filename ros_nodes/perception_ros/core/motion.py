"""Where the sensor was when: from odometry or from tf, behind one call."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from perception.errors import PerceptionError
from perception_ros.conversion.stamps import nanoseconds_of
from perception_ros.core.frames import FrameTree
from perception_ros.core.poses import PoseBuffer, pose_of_quaternion


class Motion(Protocol):
    """``pose``: the sensor's pose (4, 4) in a frame that does not move, at a time in ns; None where it is not known."""

    def pose(self, frame: str, stamp: int) -> np.ndarray | None: ...

    def reset(self) -> None:
        """The clock went back: what was known is of another time."""
        ...


class OdometryMotion:
    """From nav_msgs/Odometry. ``mounting`` (4, 4) is the sensor's pose in the frame that the odometry is of."""

    def __init__(self, mounting: np.ndarray | None = None, reach: float = 0.2) -> None:
        self.mounting = np.eye(4) if mounting is None else mounting
        self.buffer = PoseBuffer(reach=reach)

    def add_message(self, message: Any) -> None:
        """Raises PerceptionError for a pose whose quaternion is none."""
        pose = message.pose.pose
        place, turn = pose.position, pose.orientation
        matrix = pose_of_quaternion((place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w), "odometry")
        self.buffer.add(nanoseconds_of(message.header.stamp), matrix)

    def pose(self, frame: str, stamp: int) -> np.ndarray | None:
        found = self.buffer.at(stamp)
        return None if found is None else found @ self.mounting

    def reset(self) -> None:
        self.buffer.clear()


class FrameMotion:
    """From tf: the pose of the cloud's frame in ``fixed``, a frame such as odom or map."""

    def __init__(self, frames: FrameTree, fixed: str, wait: float = 0.0) -> None:
        self.frames, self.fixed, self.wait = frames, fixed, wait

    def pose(self, frame: str, stamp: int) -> np.ndarray | None:
        try:
            return self.frames.lookup(self.fixed, frame, stamp, self.wait)
        except PerceptionError:
            return None

    def reset(self) -> None:
        self.frames.clear_moving()


class NoMotion:
    """A sensor that stands still, or one whose motion nobody tells."""

    def pose(self, frame: str, stamp: int) -> np.ndarray | None:
        return np.eye(4)

    def reset(self) -> None:
        return None
