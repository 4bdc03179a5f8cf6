"""Compiled core of non-maximum suppression, with bounds that spare most of the clipping."""

from __future__ import annotations

import numpy as np

from perception.compiled import compiled
from perception.geometry.clipping import CORNERS, intersection_area

# Bounds are taken this much too large, so that rounding never lets one skip an overlap that clipping would find.
SLACK = 1 + 1e-9


@compiled
def greedy_suppression(boxes: np.ndarray, order: np.ndarray, threshold: float, maximum: int) -> np.ndarray:
    """Indices kept, best first, of boxes visited in ``order``: overlapping a better one above threshold, a box goes."""
    scratch = np.empty((2, CORNERS, 2))
    radius = np.sqrt(boxes[:, 3] ** 2 + boxes[:, 4] ** 2) / 2
    area = boxes[:, 3] * boxes[:, 4]
    cos, sin = np.cos(boxes[:, 6]), np.sin(boxes[:, 6])
    gone = np.zeros(len(order), np.bool_)
    kept = np.empty(min(len(order), maximum), np.int64)
    number = 0
    for i in range(len(order)):
        if gone[i]:
            continue
        if number == maximum:
            break
        best = order[i]
        kept[number] = best
        number += 1
        for j in range(i + 1, len(order)):
            other = order[j]
            dx, dy = boxes[other, 0] - boxes[best, 0], boxes[other, 1] - boxes[best, 1]
            reach = radius[best] + radius[other]
            if gone[j] or dx * dx + dy * dy >= reach * reach:
                continue
            both = area[best] + area[other]
            # Not positive for boxes without area, whose union may be negative.
            bound = SLACK * _most_shared(boxes, best, other, cos, sin)
            if bound <= 0 or bound < threshold * (both - bound):
                continue
            shared = intersection_area(boxes[best], boxes[other], scratch)
            gone[j] = shared > threshold * (both - shared)
    return kept[:number]


@compiled
def _most_shared(boxes: np.ndarray, a: int, b: int, cos: np.ndarray, sin: np.ndarray) -> float:
    """No less than the area that two boxes share: of ``b``, the rectangle around it along the sides of ``a``."""
    dx, dy = boxes[b, 0] - boxes[a, 0], boxes[b, 1] - boxes[a, 1]
    along, across = dx * cos[a] + dy * sin[a], dy * cos[a] - dx * sin[a]
    turn_cos = abs(cos[a] * cos[b] + sin[a] * sin[b])
    turn_sin = abs(sin[b] * cos[a] - cos[b] * sin[a])
    half_along = (boxes[b, 3] * turn_cos + boxes[b, 4] * turn_sin) / 2
    half_across = (boxes[b, 3] * turn_sin + boxes[b, 4] * turn_cos) / 2
    length = min(boxes[a, 3] / 2, along + half_along) - max(-boxes[a, 3] / 2, along - half_along)
    width = min(boxes[a, 4] / 2, across + half_across) - max(-boxes[a, 4] / 2, across - half_across)
    if length <= 0 or width <= 0:
        return 0.0
    return min(length * width, boxes[b, 3] * boxes[b, 4])
