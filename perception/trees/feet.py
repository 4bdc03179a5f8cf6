"""Where trees stand, from their points: what TreeLearn's offsets point to (Henrich et al. 2024, section 3.3)."""

from __future__ import annotations

import numpy as np

FOOT_HEIGHT = 0.5
"""Metres above a tree's lowest points that its foot is the mean of."""


def tree_feet(xyz: np.ndarray, tree_id: np.ndarray, height: float = FOOT_HEIGHT) -> np.ndarray:
    """The foot (N, 3) of each point's tree, NaN for points without one.

    It is the mean of the points up to ``height`` above the fourth-lowest of a tree of more than eleven points, the
    lowest of others: single points below the ground do not count.
    """
    feet = np.full((len(xyz), 3), np.nan)
    rows = np.flatnonzero(tree_id > 0)
    if not len(rows):
        return feet
    _, tree = np.unique(tree_id[rows], return_inverse=True)
    z = xyz[rows, 2]
    order = np.lexsort((z, tree))
    counts = np.bincount(tree)
    starts = np.cumsum(counts) - counts
    ceiling = z[order[starts + np.where(counts > 11, 3, 0)]] + height
    low = z <= ceiling[tree]
    sums = np.stack([np.bincount(tree[low], xyz[rows[low], axis], len(counts)) for axis in range(3)], 1)
    feet[rows] = (sums / np.bincount(tree[low], minlength=len(counts))[:, None])[tree]
    return feet
