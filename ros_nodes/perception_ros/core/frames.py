"""The tree of coordinate frames that /tf and /tf_static tell of, for machines with and without tf2."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from perception.datasets.rigid import inverse
from perception.errors import PerceptionError, nearest
from perception_ros.conversion.stamps import nanoseconds_of
from perception_ros.core.poses import PoseBuffer, pose_of_quaternion

DEEPEST = 100


class FrameTree:
    """Frames by name, each with its parent and its pose there, fixed or over time. Safe between threads."""

    def __init__(self, keep: float = 10.0, reach: float = 0.2) -> None:
        self._keep, self._reach = keep, reach
        self._parents: dict[str, str] = {}
        self._fixed: dict[str, np.ndarray] = {}
        self._moving: dict[str, PoseBuffer] = {}
        self._changed = threading.Condition()

    def add_message(self, message: Any, fixed: bool) -> None:
        """All transforms of a tf2_msgs/TFMessage; PerceptionError for a quaternion that is none."""
        for one in message.transforms:
            move, turn = one.transform.translation, one.transform.rotation
            child, parent = _plain(one.child_frame_id), _plain(one.header.frame_id)
            pose = pose_of_quaternion(
                (move.x, move.y, move.z), (turn.x, turn.y, turn.z, turn.w), f"transform {parent} -> {child}"
            )
            self.add(parent, child, nanoseconds_of(one.header.stamp), pose, fixed)

    def add(self, parent: str, child: str, stamp: int, pose: np.ndarray, fixed: bool = False) -> None:
        """``pose`` (4, 4) takes points of ``child`` to ``parent``."""
        with self._changed:
            self._parents[child] = parent
            if fixed:
                self._fixed[child] = pose
                self._moving.pop(child, None)
            else:
                self._fixed.pop(child, None)
                self._moving.setdefault(child, PoseBuffer(self._keep, self._reach)).add(stamp, pose)
            self._changed.notify_all()

    def clear_moving(self) -> None:
        """Forget what changes over time: the clock went back."""
        with self._changed:
            for child in self._moving:
                self._parents.pop(child, None)
            self._moving.clear()

    def lookup(self, target: str, source: str, stamp: int, wait: float = 0.0) -> np.ndarray:
        """What takes points of ``source`` to ``target`` at a time (ns), (4, 4); waits up to ``wait`` s for it to come.

        Raises PerceptionError for frames that are not known, not joined, or not known at that time.
        """
        target, source = _plain(target), _plain(source)
        if target == source:
            return np.eye(4)
        end = time.monotonic() + wait
        with self._changed:
            while True:
                try:
                    return self._find(target, source, stamp)
                except PerceptionError:  # noqa: PERF203 (each turn waits for news)
                    left = end - time.monotonic()
                    if left <= 0:
                        raise
                    self._changed.wait(left)

    def _find(self, target: str, source: str, stamp: int) -> np.ndarray:
        known = {*self._parents, *self._parents.values()}
        for frame in (target, source):
            if frame not in known:
                hint = nearest(frame, known) if known else "no transform has come on /tf or /tf_static"
                raise PerceptionError(f"frame {frame!r} is unknown to tf", "a frame that /tf or /tf_static has", hint)
        up_target, up_source = list(self._up(target)), list(self._up(source))
        common = next((frame for frame in up_source if frame in up_target), None)
        if common is None:
            raise PerceptionError(
                f"frames {target!r} and {source!r} are not joined", "one tree", "publish the transform between them"
            )
        to_common = self._chain(up_source[: up_source.index(common)], stamp)
        return inverse(self._chain(up_target[: up_target.index(common)], stamp)) @ to_common

    def _up(self, frame: str) -> Iterator[str]:
        for _ in range(DEEPEST):  # a loop in the tree must not hold a robot up
            yield frame
            if frame not in self._parents:
                return
            frame = self._parents[frame]

    def _chain(self, frames: list[str], stamp: int) -> np.ndarray:
        total = np.eye(4)
        for frame in frames:
            pose = self._fixed.get(frame)
            if pose is None:
                pose = self._moving[frame].at(stamp)
            if pose is None:
                raise PerceptionError(
                    f"no transform {self._parents[frame]} -> {frame} at {stamp / 1e9:.3f} s",
                    "transforms up to the cloud's stamp",
                    "check the clocks, or raise transform_wait",
                )
            total = pose @ total
        return total


def _plain(frame: str) -> str:
    return frame.lstrip("/")  # tf of ROS 1 wrote names with a slash
