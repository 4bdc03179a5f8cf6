"""Iterated closest points of many things at once: each turns about the vertical and moves, by robust weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

WIDE = 4.0  # times wider are the weights at the first step
TURN_PRIOR = 0.05  # square metres: what is small or seen from one side only does not turn by noise


@dataclass(frozen=True, eq=False)
class Motions:
    """Of each thing: ``turn`` (T,) radians about its ``centre`` (T, 3), then a ``shift`` (T, 3)."""

    centre: np.ndarray
    turn: np.ndarray
    shift: np.ndarray

    def apply(self, points: np.ndarray, owner: np.ndarray) -> np.ndarray:
        """Points (P, 3) of the things ``owner`` (P,), moved."""
        cos, sin = np.cos(self.turn)[owner], np.sin(self.turn)[owner]
        x, y, z = (points - self.centre[owner]).T
        turned = np.column_stack([x * cos - y * sin, x * sin + y * cos, z])
        return np.asarray(turned + (self.centre + self.shift)[owner])

    def select(self, rows: np.ndarray) -> Motions:
        return Motions(self.centre[rows], self.turn[rows], self.shift[rows])


def centres(points: np.ndarray, owner: np.ndarray, count: int) -> np.ndarray:
    """Mean points (count, 3) of the things."""
    number = np.maximum(np.bincount(owner, minlength=count), 1)
    return np.stack([np.bincount(owner, points[:, axis], count) / number for axis in range(3)], 1)


def align_many(
    points: np.ndarray, owner: np.ndarray, start: Motions, target: cKDTree, scale: float, iterations: int = 16
) -> Motions:
    """Refine ``start``: weights of Geman and McClure with ``scale`` metres, wider at first; far neighbours are out.

    Kabsch's solution in the plane for each thing, its height by the weighted mean.
    """
    motions, count = start, len(start.turn)
    for step in range(iterations):
        width = scale * max(WIDE ** (1 - 1.5 * step / iterations), 1.0)
        now = motions.apply(points, owner)
        distance, nearest = target.query(now, distance_upper_bound=3 * width)
        met = np.isfinite(distance)
        weight = np.where(met, 1 / (1 + (np.where(met, distance, 0) / width) ** 2) ** 2, 0)
        goal = target.data[np.where(met, nearest, 0)]
        motions = _solve(points, goal, weight, owner, motions, count)
    return motions


def _solve(
    points: np.ndarray, goal: np.ndarray, weight: np.ndarray, owner: np.ndarray, before: Motions, count: int
) -> Motions:
    total = np.bincount(owner, weight, count)
    enough = total > 1e-6

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(owner, weight * values, count) / np.where(enough, total, 1)

    source_mean = np.stack([mean(points[:, axis]) for axis in range(3)], 1)
    goal_mean = np.stack([mean(goal[:, axis]) for axis in range(3)], 1)
    p, q = points - source_mean[owner], goal - goal_mean[owner]
    along, across = mean(p[:, 0] * q[:, 0] + p[:, 1] * q[:, 1]), mean(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0])
    turn = np.where(enough, np.arctan2(across, along + TURN_PRIOR), before.turn)
    cos, sin = np.cos(turn), np.sin(turn)
    arm = source_mean - before.centre
    turned = np.column_stack([arm[:, 0] * cos - arm[:, 1] * sin, arm[:, 0] * sin + arm[:, 1] * cos, arm[:, 2]])
    shift = np.where(enough[:, None], goal_mean - turned - before.centre, before.shift)
    return Motions(before.centre, turn, shift)
