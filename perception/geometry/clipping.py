"""Compiled core: the exact area that two rotated rectangles share (Sutherland & Hodgman 1974)."""

from __future__ import annotations

import math

import numpy as np

from perception.compiled import compiled

# Four corners cut by four lines: at most four more corners.
CORNERS = 8


@compiled
def intersection_area(a: np.ndarray, b: np.ndarray, scratch: np.ndarray) -> float:
    """Area in m2 of two rows x y z length width height heading, float64; ``scratch`` is (2, 8, 2).

    Works in the frame of ``a``, so that coordinates of millions of metres cost no precision. Rectangles with a size
    that is not positive, or with values that are not finite, share nothing.
    """
    if not (a[3] > 0 and a[4] > 0 and b[3] > 0 and b[4] > 0):
        return 0.0
    dx, dy = b[0] - a[0], b[1] - a[1]
    reach = (math.hypot(a[3], a[4]) + math.hypot(b[3], b[4])) / 2
    if not (reach < math.inf and math.hypot(dx, dy) < reach):
        return 0.0
    turn, back = b[6] - a[6], -a[6]
    cos, sin = math.cos(turn), math.sin(turn)
    centre_x = dx * math.cos(back) - dy * math.sin(back)
    centre_y = dx * math.sin(back) + dy * math.cos(back)
    for corner in range(4):
        along = b[3] / 2 if corner == 0 or corner == 3 else -b[3] / 2
        across = b[4] / 2 if corner < 2 else -b[4] / 2
        scratch[0, corner, 0] = centre_x + along * cos - across * sin
        scratch[0, corner, 1] = centre_y + along * sin + across * cos
    count = 4
    for side in range(4):
        axis, sign = side // 2, 1.0 - 2.0 * (side % 2)
        count = _cut(scratch[side % 2], scratch[1 - side % 2], count, axis, sign, a[3 + axis] / 2)
        if count < 3:
            return 0.0
    return _area(scratch[0], count)


@compiled
def _cut(polygon: np.ndarray, kept: np.ndarray, count: int, axis: int, sign: float, limit: float) -> int:
    """Keep the part of a convex polygon where sign * coordinate <= limit."""
    number = 0
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        here, there = limit - sign * polygon[i, axis], limit - sign * polygon[j, axis]
        if here >= 0:
            kept[number, 0], kept[number, 1] = polygon[i, 0], polygon[i, 1]
            number += 1
        if (here > 0 and there < 0) or (here < 0 and there > 0):
            share = here / (here - there)
            kept[number, 0] = polygon[i, 0] + share * (polygon[j, 0] - polygon[i, 0])
            kept[number, 1] = polygon[i, 1] + share * (polygon[j, 1] - polygon[i, 1])
            number += 1
    return number


@compiled
def _area(polygon: np.ndarray, count: int) -> float:
    """Shoelace formula about the first corner."""
    total = 0.0
    for i in range(1, count - 1):
        total += (polygon[i, 0] - polygon[0, 0]) * (polygon[i + 1, 1] - polygon[0, 1])
        total -= (polygon[i + 1, 0] - polygon[0, 0]) * (polygon[i, 1] - polygon[0, 1])
    return abs(total) / 2


@compiled
def intersection_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, M) areas of all pairs."""
    scratch = np.empty((2, CORNERS, 2))
    areas = np.empty((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            areas[i, j] = intersection_area(a[i], b[j], scratch)
    return areas


@compiled
def intersection_pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N,) areas of row i with row i."""
    scratch = np.empty((2, CORNERS, 2))
    areas = np.empty(len(a))
    for i in range(len(a)):
        areas[i] = intersection_area(a[i], b[i], scratch)
    return areas
