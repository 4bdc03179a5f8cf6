"""A tapered capsule: what limbs, torsos and skirts are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from perception.simulate.shapes import Crossing, Material, Pose


@dataclass(frozen=True, eq=False)
class Capsule:
    """The hull of two balls, nearly: a tapered cylinder between ``start`` and ``end`` (3,) with the radii ``radii``
    there, and a ball at each end."""

    start: np.ndarray
    end: np.ndarray
    radii: tuple[float, float]
    material: Material

    def corners(self) -> np.ndarray:
        a, b = self.start, self.end
        low = np.minimum(a - self.radii[0], b - self.radii[1])
        high = np.maximum(a + self.radii[0], b + self.radii[1])
        x, y = [high[0], low[0], low[0], high[0]], [high[1], high[1], low[1], low[1]]
        return np.column_stack([x * 2, y * 2, [low[2]] * 4 + [high[2]] * 4])

    def placed(self, pose: Pose) -> Capsule:
        return replace(self, start=pose.apply(self.start), end=pose.apply(self.end))

    def cross(self, directions: np.ndarray) -> Crossing:
        enter = np.full(directions.shape[:-1], np.inf, np.float64)
        leave = np.full(directions.shape[:-1], -np.inf, np.float64)
        towards = directions.astype(np.float64)
        for t1, t2 in (*(self._ball(towards, end) for end in (0, 1)), self._mantle(towards)):
            enter, leave = np.minimum(enter, t1), np.maximum(leave, np.where(np.isfinite(t1), t2, -np.inf))
        enter = np.where(enter > 0, enter, np.inf)
        met = np.isfinite(enter)
        points = towards * np.where(met, enter, 0.0)[..., None]
        cosine = np.where(met, np.clip(-(self._normal(points) * towards).sum(-1), 0, 1), 0.0)
        return Crossing(enter.astype(np.float32), leave.astype(np.float32), cosine.astype(np.float32))

    def _ball(self, d: np.ndarray, end: int) -> tuple[np.ndarray, np.ndarray]:
        centre, radius = (self.start, self.end)[end], self.radii[end]
        b = d @ centre
        square = b * b - (centre @ centre - radius**2)
        root = np.sqrt(np.maximum(square, 0))
        return np.where(square > 0, b - root, np.inf), b + root

    def _mantle(self, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where a ray is within the tapered cylinder: between the planes of its ends and inside the cone."""
        span = self.end - self.start
        length = float(np.linalg.norm(span))
        if length < 1e-6:
            return np.full(d.shape[:-1], np.inf), np.zeros(d.shape[:-1])
        axis, slope = span / length, (self.radii[1] - self.radii[0]) / length
        foot = -self.start
        da, pa = d @ axis, float(foot @ axis)
        radius = self.radii[0] + slope * pa
        a = 1 - da * da * (1 + slope**2)
        b = d @ foot - pa * da - radius * slope * da
        c = float(foot @ foot) - pa * pa - radius**2
        square = b * b - a * c
        flat = np.where(np.abs(a) < 1e-9, 1e-9, a)
        root = np.sqrt(np.maximum(square, 0))
        near, far = (-b - root) / flat, (-b + root) / flat
        # a ray along the axis is inside the cone between the end planes only: the balls see to it
        hit = (square > 0) & (a > 1e-9)
        rise = np.where(np.abs(da) < 1e-9, 1e-9, da)
        t1, t2 = -pa / rise, (length - pa) / rise
        enter, leave = np.maximum(near, np.minimum(t1, t2)), np.minimum(far, np.maximum(t1, t2))
        hit &= enter < leave
        return np.where(hit, enter, np.inf), leave

    def _normal(self, points: np.ndarray) -> np.ndarray:
        span = self.end - self.start
        share = np.clip((points - self.start) @ span / max(float(span @ span), 1e-9), 0, 1)
        away = points - (self.start + share[..., None] * span)
        return away / np.maximum(np.linalg.norm(away, axis=-1, keepdims=True), 1e-9)
