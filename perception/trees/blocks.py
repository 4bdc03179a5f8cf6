"""Overlapping parts of a large cloud for networks that see some metres: cylinders, and squares with a margin."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.spatial import cKDTree


def cylinders(xy: np.ndarray, radius: float, step: float, official_axes: bool = False) -> Iterator[np.ndarray]:
    """Rows of each upright cylinder with a point in it, centres on a grid of ``step`` metres.

    The grid begins at the origin; with ``official_axes`` at the lowest point along the cloud's principal axes, as
    SegmentAnyTree's published code lays it, so that it depends on the cloud.
    """
    if not len(xy):
        return
    xy = np.asarray(xy, np.float64)
    centres = _principal_centres(xy, step) if official_axes else _grid_centres(xy, radius, step)
    tree = cKDTree(xy)
    for centre in centres:
        rows = np.sort(np.array(tree.query_ball_point(centre, radius), np.int64))
        if len(rows):
            yield rows


def _grid_centres(xy: np.ndarray, radius: float, step: float) -> np.ndarray:
    """Grid points that may have points within the radius, ascending by y and x."""
    reach = int(np.ceil(radius / step))
    cells = np.unique(np.round(xy / step).astype(np.int64), axis=0)
    around = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2), -1).reshape(-1, 2)
    grid = np.unique((cells[:, None] + around).reshape(-1, 2)[:, ::-1], axis=0)[:, ::-1]
    return grid * step


def _principal_centres(xy: np.ndarray, step: float) -> np.ndarray:
    middle = xy.mean(0)
    axes = np.linalg.eigh(np.cov((xy - middle).T) if len(xy) > 1 else np.eye(2))[1][:, ::-1]
    along = (xy - middle) @ axes
    low, high = along.min(0), along.max(0)
    grid = np.stack(np.meshgrid(*[np.arange(a, b + step, step) for a, b in zip(low, high)], indexing="ij"), -1)
    return grid.reshape(-1, 2) @ axes.T + middle


def squares(xy: np.ndarray, inner: float, margin: float, step: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of each square of ``inner`` metres with ``margin`` around it, and which of them lie in it (bool).

    Squares begin at multiples of ``step``; those without a point of their own are left out.
    """
    if not len(xy):
        return
    xy = np.asarray(xy, np.float64)
    low = np.floor((xy.min(0) - inner) / step).astype(np.int64) + 1
    high = np.floor(xy.max(0) / step).astype(np.int64)
    order = np.argsort(xy[:, 1], kind="stable")
    ordered = xy[order, 1]
    for y in range(low[1], high[1] + 1):
        strip = order[slice(*np.searchsorted(ordered, [y * step - margin, y * step + inner + margin]))]
        strip = strip[np.argsort(xy[strip, 0], kind="stable")]
        for x in range(low[0], high[0] + 1):
            corner = np.array([x, y]) * step
            ends = np.searchsorted(xy[strip, 0], [corner[0] - margin, corner[0] + inner + margin])
            rows = np.sort(strip[slice(*ends)])
            inside = np.all((xy[rows] >= corner) & (xy[rows] < corner + inner), axis=1)
            if inside.any():
                yield rows, inside
