"""TreeLearn's grouping: points shifted to the feet of their trees, seen from above (Henrich et al. 2024, section 3)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.spatial import cKDTree

from perception.config import config
from perception.errors import missing_extra
from perception.trees.clustering import connected

Method = Literal["components", "hdbscan"]


@config
class Grouping:
    """What takes part and how it hangs together.

    ``components`` is DBSCAN with two points as published (radius 0.15 m); ``hdbscan``, the published default, needs
    scikit-learn. Groups of fewer than ``least_points`` are none.
    """

    method: Method = "components"
    tree_probability: float = 0.5
    least_verticality: float = 0.6
    largest_offset: float = 4.0
    radius: float = 0.15
    least_points: int = 50
    neighbours: int = 5


def group_shifted(
    xyz: np.ndarray, offset: np.ndarray, probability: np.ndarray, upright: np.ndarray, how: Grouping
) -> np.ndarray:
    """Tree of each point (N,) from 1, 0 for none; ``offset`` (N, 3) leads to its foot, ``upright`` its verticality.

    Upright parts of trees with short offsets form the groups; the other points of trees join the most frequent among
    their nearest.
    """
    shifted = xyz.astype(np.float64) + offset
    tree = probability >= how.tree_probability
    core = np.flatnonzero(tree & (upright > how.least_verticality) & (np.abs(offset[:, 2]) < how.largest_offset))
    labels = np.zeros(len(xyz), np.int32)
    labels[core] = _groups(shifted[core, :2], how)
    known, open_ = np.flatnonzero(labels), np.flatnonzero(tree & (labels == 0))
    if len(known) and len(open_):
        nearest = cKDTree(shifted[known]).query(shifted[open_], k=min(how.neighbours, len(known)))[1]
        labels[open_] = _most_frequent(labels[known][nearest.reshape(len(open_), -1)])
    return labels


def _groups(places: np.ndarray, how: Grouping) -> np.ndarray:
    """From 1 in the order of their first points; 0 for those too small."""
    if not len(places):
        return np.zeros(0, np.int32)
    found = connected(places, how.radius) if how.method == "components" else _hdbscan(places, how.least_points)
    large = np.bincount(found[found >= 0], minlength=1) >= how.least_points
    number = np.append(np.where(large, np.cumsum(large), 0), 0)  # the last is that of -1
    grouped: np.ndarray = number[found].astype(np.int32)
    return grouped


def _hdbscan(places: np.ndarray, least: int) -> np.ndarray:
    try:
        from sklearn.cluster import HDBSCAN
    except ImportError:
        raise missing_extra("scikit-learn", "trees") from None
    if len(places) < least:
        return np.full(len(places), -1)
    labels: np.ndarray = HDBSCAN(min_cluster_size=least).fit(places).labels_
    return labels


def _most_frequent(candidates: np.ndarray) -> np.ndarray:
    """Of each row (M, k) the value that occurs most often, the smallest of several."""
    ordered = np.sort(candidates, 1)
    occurs = (ordered[:, :, None] == ordered[:, None, :]).sum(2)
    chosen: np.ndarray = np.take_along_axis(ordered, occurs.argmax(1)[:, None], 1)[:, 0]
    return chosen
