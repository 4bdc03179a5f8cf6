"""Poses over time: between two of them by interpolation, shortly after the last one at constant speed."""

from __future__ import annotations

import bisect
import threading

import numpy as np
from scipy.spatial.transform import Rotation

from perception.datasets.rigid import inverse
from perception.errors import PerceptionError

SECOND = 1_000_000_000


def pose_of_quaternion(
    translation: tuple[float, float, float], quaternion: tuple[float, ...], where: str
) -> np.ndarray:
    """(4, 4) float64 of x y z and a quaternion x y z w. Raises PerceptionError for numbers that are no rotation."""
    values = np.array([*translation, *quaternion], np.float64)
    length = float(np.linalg.norm(values[3:]))
    if not np.isfinite(values).all() or abs(length - 1) > 0.01:
        raise PerceptionError(f"{where}: quaternion {list(quaternion)} at {list(translation)}", "a unit quaternion")
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_quat(values[3:] / length).as_matrix()
    pose[:3, 3] = values[:3]
    return pose


def quaternion_of(rotation: np.ndarray) -> np.ndarray:
    """x y z w (..., 4) of rotation matrices (..., 3, 3)."""
    return np.asarray(Rotation.from_matrix(rotation).as_quat())


class PoseBuffer:
    """Poses (4, 4) by stamp in whole nanoseconds; those older than ``keep`` seconds are forgotten.

    Beyond the newest pose the motion goes on as it was for at most ``reach`` seconds. Safe between threads.
    """

    def __init__(self, keep: float = 10.0, reach: float = 0.2) -> None:
        self.keep, self.reach = int(keep * SECOND), int(reach * SECOND)
        self._stamps: list[int] = []
        self._poses: list[np.ndarray] = []
        self._lock = threading.Lock()

    def add(self, stamp: int, pose: np.ndarray) -> None:
        """A pose, in any order; one with the same stamp replaces it. Time that jumps back starts anew."""
        with self._lock:
            if self._stamps and stamp < self._stamps[-1] - self.keep:
                self._stamps.clear()
                self._poses.clear()
            place = bisect.bisect_left(self._stamps, stamp)
            if place < len(self._stamps) and self._stamps[place] == stamp:
                self._poses[place] = pose
                return
            self._stamps.insert(place, stamp)
            self._poses.insert(place, pose)
            old = bisect.bisect_left(self._stamps, self._stamps[-1] - self.keep)
            del self._stamps[:old], self._poses[:old]

    def clear(self) -> None:
        with self._lock:
            self._stamps.clear()
            self._poses.clear()

    def at(self, stamp: int) -> np.ndarray | None:
        """The pose at a time; None before the first, and too long after the last."""
        with self._lock:
            place = bisect.bisect_left(self._stamps, stamp)
            if place < len(self._stamps) and self._stamps[place] == stamp:
                return self._poses[place]
            if place == 0 or not self._stamps:
                return None
            if place == len(self._stamps):
                if stamp - self._stamps[-1] > self.reach or len(self._stamps) < 2:
                    return None
                place -= 1
            before, after = self._stamps[place - 1], self._stamps[place]
            first, second = self._poses[place - 1], self._poses[place]
        return between(first, second, (stamp - before) / (after - before))


def between(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """The pose at ``share`` of the way, turning at constant speed; beyond 1 the motion goes on."""
    pose = np.eye(4)
    turn = Rotation.from_matrix(first[:3, :3].T @ second[:3, :3]).as_rotvec()
    pose[:3, :3] = first[:3, :3] @ Rotation.from_rotvec(turn * share).as_matrix()
    pose[:3, 3] = first[:3, 3] + share * (second[:3, 3] - first[:3, 3])
    return pose


def motion(earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    """What takes points of a sensor's frame at the earlier pose to its frame at the later one."""
    return inverse(later) @ earlier
