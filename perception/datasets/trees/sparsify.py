"""Fewer points, as a scanner farther away would have given: SegmentAnyTree learned sparse data from such copies."""

from __future__ import annotations

import numpy as np


def ground_area(xy: np.ndarray, cell: float = 1.0) -> float:
    """Square metres of the cells of ``cell`` metres, laid from the lowest x and y, that have a point (N, 2)."""
    if not len(xy):
        return 0.0
    cells = np.floor((xy - xy.min(0)) / cell).astype(np.int64)
    return len(np.unique(cells[:, 0] * (int(cells[:, 1].max()) + 1) + cells[:, 1])) * cell**2


def sparsified(xyz: np.ndarray, density: float, generator: np.random.Generator) -> np.ndarray:
    """Rows, ascending, of points drawn evenly so that ``density`` a square metre are left; all where they are fewer."""
    wanted = max(1, round(density * ground_area(xyz[:, :2]))) if len(xyz) else 0
    if wanted >= len(xyz):
        return np.arange(len(xyz))
    rows: np.ndarray = np.sort(generator.permutation(len(xyz))[:wanted])
    return rows
