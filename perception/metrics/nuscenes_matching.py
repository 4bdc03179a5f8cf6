"""Compiled matching of results with labels by the distance of their centres, as nuScenes' benchmark does it."""

from __future__ import annotations

import math

import numpy as np

from perception.compiled import compiled


@compiled
def match(
    frame: np.ndarray, centre: np.ndarray, first_label: np.ndarray, label_centre: np.ndarray, limit: float
) -> np.ndarray:
    """The label (N,) that each result finds, -1 for none.

    Results (N,) in the order in which they choose, best first, each in a ``frame`` and with a ``centre`` (N, 2). Labels
    are ordered by frame, frame f having rows ``first_label[f]`` to ``first_label[f + 1]`` of ``label_centre`` (M, 2). A
    result takes the nearest label that is still free, if it is nearer than ``limit`` metres.
    """
    found = np.full(len(frame), -1, np.int64)
    taken = np.zeros(len(label_centre), np.bool_)
    for i in range(len(frame)):
        nearest, least = -1, math.inf
        for j in range(first_label[frame[i]], first_label[frame[i] + 1]):
            if taken[j]:
                continue
            across, along = centre[i, 0] - label_centre[j, 0], centre[i, 1] - label_centre[j, 1]
            distance = math.sqrt(across * across + along * along)
            if distance < least:
                nearest, least = j, distance
        if least < limit:
            taken[nearest] = True
            found[i] = nearest
    return found


def match_reference(
    frame: np.ndarray, centre: np.ndarray, first_label: np.ndarray, label_centre: np.ndarray, limit: float
) -> np.ndarray:
    """``match`` in plain NumPy."""
    free = np.ones(len(label_centre), bool)
    found = np.full(len(frame), -1, np.int64)
    for i, f in enumerate(frame):
        labels = np.arange(first_label[f], first_label[f + 1])
        labels = labels[free[labels]]
        distance = np.linalg.norm(label_centre[labels] - centre[i], axis=1)
        if len(labels) and distance.min() < limit:
            found[i] = labels[distance.argmin()]
            free[found[i]] = False
    return found
