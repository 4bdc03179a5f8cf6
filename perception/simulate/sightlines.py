"""Whether something stands between the sensor and a place on a body."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perception.simulate.shapes import Shape

SPREAD = 0.03
"""Metres by which rays beside the middle one pass a joint."""
TOLERANCE = 0.03
LEAST = 3
"""Of seven rays, how many must arrive."""


def free_sight(joints: np.ndarray, depths: np.ndarray, groups: Sequence[Sequence[Shape]]) -> np.ndarray:
    """For joints (J, 3) that lie ``depths`` (J,) metres below their surface: whether the sensor, at the origin, sees
    that surface, (J,) bool.

    Of seven rays about a joint at least three must come as close as the depth and 3 cm: what stops the others is
    another solid, of the same body or not. Leaves stop a ray that runs through more than their free path of them.
    """
    if not len(joints):
        return np.zeros(0, bool)
    targets = joints[:, None] + SPREAD * _ring(joints)
    reach = np.linalg.norm(targets, axis=2)
    directions = (targets / reach[..., None]).reshape(-1, 3).astype(np.float32)
    nearest = np.full(len(directions), np.inf)
    for shapes in groups:
        for shape in shapes:
            nearest = np.minimum(nearest, _stop(shape, directions))
    arrived = nearest.reshape(reach.shape) >= reach - (depths + TOLERANCE)[:, None]
    seen: np.ndarray = arrived.sum(1) >= LEAST
    return seen


def _stop(shape: Shape, directions: np.ndarray) -> np.ndarray:
    crossing = shape.cross(directions)
    material = shape.material
    if material.surface >= 0.5:
        return crossing.enter
    with np.errstate(invalid="ignore"):
        deep = crossing.leave - crossing.enter > material.free_path
    return np.where(deep & np.isfinite(crossing.enter), crossing.enter + material.free_path, np.inf)


def _ring(joints: np.ndarray) -> np.ndarray:
    """The middle and six places around it (J, 7, 3), of unit radius, across the line of sight."""
    ahead = joints / np.linalg.norm(joints, axis=1, keepdims=True)
    side = np.cross([0, 0, 1.0], ahead)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    up = np.cross(ahead, side)
    angle = np.arange(6) * np.pi / 3
    around = np.cos(angle)[None, :, None] * side[:, None] + np.sin(angle)[None, :, None] * up[:, None]
    return np.concatenate([np.zeros((len(joints), 1, 3)), around], 1)
