"""Boxes and poses between nuScenes' convention and the library's: the only place that knows both.

A nuScenes box has its centre in the global frame, its size as width, length, height and a rotation as quaternion
w x y z; its x axis points ahead, along the length (schema, ``sample_annotation``). A pose maps its frame to the one
above: lidar to ego (``calibrated_sensor``), ego to global (``ego_pose``). All arithmetic is float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class NuscenesCalibration:
    """The place of one keyframe: its sample ``token``, ``lidar_to_ego`` and ``ego_to_global`` (4, 4)."""

    token: str
    lidar_to_ego: np.ndarray
    ego_to_global: np.ndarray

    @cached_property
    def lidar_to_global(self) -> np.ndarray:
        return np.asarray(self.ego_to_global @ self.lidar_to_ego)


def rotation_matrices(quaternions: np.ndarray) -> np.ndarray:
    """(N, 3, 3) of quaternions (N, 4) w x y z of any length above zero."""
    unit = quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True)
    w, x, y, z = np.moveaxis(unit, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def headings(quaternions: np.ndarray) -> np.ndarray:
    """Direction (N,) of the turned x axis as seen from above, radians from +x."""
    ahead = rotation_matrices(quaternions)[..., 0]
    return np.arctan2(ahead[..., 1], ahead[..., 0])


def pose_matrices(translation: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(N, 4, 4) of translations (N, 3) and quaternions (N, 4)."""
    matrices = np.zeros((*translation.shape[:-1], 4, 4))
    matrices[..., :3, :3] = rotation_matrices(rotation)
    matrices[..., :3, 3] = translation
    matrices[..., 3, 3] = 1
    return matrices


def inverse_pose(matrix: np.ndarray) -> np.ndarray:
    """The pose (4, 4) backwards: the transposed rotation, so that it stays one."""
    back = np.eye(4)
    back[:3, :3] = matrix[:3, :3].T
    back[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
    return back


def global_to_lidar(
    translation: np.ndarray, size: np.ndarray, rotation: np.ndarray, velocity: np.ndarray, pose: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 7) of the library and velocity (N, 2) in the lidar frame.

    ``translation``, ``size`` width length height and ``velocity`` (N, 3), ``rotation`` (N, 4); ``pose`` (4, 4) from the
    lidar to the global frame.
    """
    turn = pose[:3, :3].T
    ahead = rotation_matrices(rotation)[:, :, 0] @ turn.T
    boxes = np.column_stack(
        [(translation - pose[:3, 3]) @ turn.T, size[:, [1, 0, 2]], np.arctan2(ahead[:, 1], ahead[:, 0])]
    )
    return boxes, (velocity @ turn.T)[:, :2]


def lidar_to_global(
    boxes: np.ndarray, velocity: np.ndarray, pose: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Translation (N, 3), size width length height (N, 3), rotation (N, 4) and velocity (N, 2): the way back."""
    turn = pose[:3, :3]
    half = boxes[:, 6] / 2
    zero = np.zeros_like(half)
    rotation = _product(_quaternion(turn), np.column_stack([np.cos(half), zero, zero, np.sin(half)]))
    moved = np.column_stack([velocity, zero]) @ turn.T
    return boxes[:, :3] @ turn.T + pose[:3, 3], boxes[:, [4, 3, 5]], rotation, moved[:, :2]


def _quaternion(matrix: np.ndarray) -> np.ndarray:
    """Unit quaternion (4,) of a rotation (3, 3), from the largest of the four components (Shepperd 1978)."""
    trace = np.trace(matrix)
    candidates = np.array([trace, *np.diag(matrix)])
    i = int(candidates.argmax())
    skew = np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    if i == 0:
        parts = np.concatenate([[1 + trace], skew])
    else:
        symmetric = matrix + matrix.T
        parts = np.concatenate([[skew[i - 1]], symmetric[i - 1]])
        parts[i] = 1 + 2 * candidates[i] - trace
    return np.asarray(parts / np.linalg.norm(parts))


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Hamilton product of one quaternion (4,) with many (N, 4)."""
    w, x, y, z = first
    left = np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]])
    return np.asarray(second @ left.T)
