"""A first guess of how far things went: each point votes for all ways that lead to a point of the second scan.

The translation search of ICP-Flow (Lin & Caesar, CVPR 2024, section 3.3), on a raster of the second scan.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

LAYER = 0.5  # metres of height that votes may differ by
REACH = 150.0  # metres around the middle: further away nothing is guessed
HEIGHTS = (-8.0, 16.0)  # metres about the middle likewise
AT_ONCE = 20_000  # points whose windows are in memory together


def vote(
    points: np.ndarray, owner: np.ndarray, count: int, second: np.ndarray, furthest: float, cell: float
) -> np.ndarray:
    """Displacements (count, 2) metres along x and y with most votes, the shortest of equals.

    ``points`` (P, 3) belong to things ``owner`` (P,) ascending; ``second`` (M, 3) in the same frame; no displacement
    exceeds ``furthest`` metres along an axis.
    """
    steps = int(np.ceil(furthest / cell))
    guess = np.zeros((count, 2))
    middle = np.median(second, axis=0)
    near = _around(points, middle, REACH)
    points, owner = points[near], owner[near]
    second = second[_around(second, middle, REACH + furthest)]
    if not len(points) or not len(second):
        return guess
    raster, place = _raster(points, second, np.minimum(points.min(0), second.min(0)), steps, cell)
    windows = sliding_window_view(raster, (2 * steps + 1, 2 * steps + 1), axis=(1, 2))
    away = np.arange(-steps, steps + 1) * cell
    distance = np.hypot(away[:, None], away[None, :])
    starts = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]]))
    for chunk in np.split(starts, np.flatnonzero(np.diff(starts // AT_ONCE)) + 1):
        after = starts[np.searchsorted(starts, chunk[-1], side="right") :]
        chosen = place[chunk[0] : after[0] if len(after) else len(points)]
        seen = windows[chosen[:, 2], chosen[:, 1], chosen[:, 0]].astype(np.uint16)
        votes = np.add.reduceat(seen, chunk - chunk[0], axis=0)
        # Less than a vote for the whole way: of equally good ones the shortest.
        score = (votes - 0.5 * distance / distance.max()).reshape(len(chunk), -1)
        row, column = np.unravel_index(score.argmax(1), distance.shape)
        guess[owner[chunk]] = np.column_stack([away[column], away[row]])
    return guess


def _around(points: np.ndarray, middle: np.ndarray, reach: float) -> np.ndarray:
    away = points - middle
    near = (np.abs(away[:, :2]) <= reach).all(1) & (away[:, 2] >= HEIGHTS[0]) & (away[:, 2] <= HEIGHTS[1])
    return np.asarray(near)


def _raster(
    points: np.ndarray, second: np.ndarray, low: np.ndarray, steps: int, cell: float
) -> tuple[np.ndarray, np.ndarray]:
    """Occupied cells (layers, rows, columns) of the second scan with a margin of ``steps``, and the points' places."""
    size = np.array([cell, cell, LAYER])
    here, there = (np.floor((xyz - low) / size).astype(np.int64) for xyz in (points, second))
    layers, rows, columns = np.maximum(here.max(0), there.max(0))[::-1] + 1
    raster = np.zeros((layers, rows + 2 * steps, columns + 2 * steps), np.uint8)
    raster[there[:, 2], there[:, 1] + steps, there[:, 0] + steps] = 1
    return raster, here
