"""Points sorted into cubic cells: what the compiled searches for near points walk along."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perception.errors import PerceptionError

BORDER = 2
"""Empty cells around all points, so that a step to a neighbour never leaves a row of the grid."""


@dataclass(frozen=True, eq=False)
class Cells:
    """``rows`` (N,) of the points cell by cell; cell c holds those from ``starts[c]`` to ``starts[c + 1]``.

    ``keys`` (C,) ascending: a step of one cell along axis a changes a key by ``steps[a]``, the last axis by 1.
    """

    rows: np.ndarray
    starts: np.ndarray
    keys: np.ndarray
    steps: np.ndarray

    @property
    def number(self) -> np.ndarray:
        """The cell (N,) of each row of the points."""
        found = np.empty(len(self.rows), np.int64)
        found[self.rows] = np.repeat(np.arange(len(self.keys)), np.diff(self.starts))
        return found


def sort_into_cells(points: np.ndarray, size: float) -> Cells:
    """Cells of edge ``size`` of points (N, d); the points of a cell stay in the order of their rows."""
    points = np.asarray(points, np.float64)
    if not np.isfinite(points).all():
        raise PerceptionError("points that are not finite", "finite coordinates", "drop them first")
    # Whole cells from the origin: the same cells whatever part of a cloud is looked at.
    low = np.floor(points.min(0) / size) * size if len(points) else np.zeros(points.shape[1])
    place = np.floor((points - low) / size)
    # Floats first: an int64 of them could overflow before the check.
    spans = (place.max(0) if len(points) else np.zeros(points.shape[1])) + 1 + 2 * BORDER
    if spans.prod() >= 2.0**62:
        raise PerceptionError(
            f"points spread over {' x '.join(f'{s * size:.3g}' for s in spans)} m in cells of {size:.3g} m",
            "fewer than 2^62 cells",
            "use smaller tiles or a larger radius",
        )
    steps = np.append(np.cumprod(spans[:0:-1])[::-1], 1).astype(np.int64)
    key = (place.astype(np.int64) + BORDER) @ steps
    rows = np.argsort(key, kind="stable")
    ordered = key[rows]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(key) else np.zeros(0, int)
    return Cells(rows, np.append(starts, len(key)), ordered[starts], steps)
