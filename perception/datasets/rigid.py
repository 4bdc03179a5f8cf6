"""Rigid motions as data sets store them: unit quaternions w x y z, and 4 x 4 matrices."""

from __future__ import annotations

import numpy as np

from perception.errors import PerceptionError


def rotations(quaternions: np.ndarray, where: str) -> np.ndarray:
    """Rotation matrices (N, 3, 3) float64 of quaternions (N, 4) w x y z, normalised first.

    Raises PerceptionError, naming ``where``, for a quaternion whose length is not 1 within 0.1 %.
    """
    length = np.linalg.norm(quaternions, axis=1)
    wrong = np.flatnonzero(~(np.abs(length - 1) < 1e-3))
    if len(wrong):
        raise PerceptionError(
            f"{where}, row {wrong[0]}: quaternion {quaternions[wrong[0]].tolist()}", "a unit quaternion w x y z"
        )
    w, x, y, z = (quaternions / length[:, None]).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows).reshape(3, 3, -1), 2, 0)


def poses(quaternions: np.ndarray, translations: np.ndarray, where: str) -> np.ndarray:
    """Matrices (N, 4, 4) float64 that rotate by quaternions (N, 4) w x y z, then move by translations (N, 3)."""
    matrices = np.tile(np.eye(4), (len(quaternions), 1, 1))
    matrices[:, :3, :3] = rotations(quaternions, where)
    matrices[:, :3, 3] = translations
    return matrices


def headings(matrices: np.ndarray) -> np.ndarray:
    """Angles (N,) in radians of the turned x axis seen from above, for rotation matrices (N, 3, 3)."""
    return np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0])


def inverse(pose: np.ndarray) -> np.ndarray:
    """The inverse (4, 4) of a rigid motion: by transposition, so that no precision is lost to a general inverse."""
    back = np.eye(4)
    back[:3, :3] = pose[:3, :3].T
    back[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return back


def move(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Points (N, 3) moved by a rigid motion (4, 4), float64."""
    return points.astype(np.float64) @ pose[:3, :3].T + pose[:3, 3]
