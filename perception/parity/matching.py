"""Which stored boxes have a twin among ours."""

from __future__ import annotations

import numpy as np

from perception.results import Detections

FINAL_DISTANCE = 0.01


def matched(result: Detections, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each stored box has its own twin among ours."""
    return twins(result, boxes, scores, labels) >= 0


def twins(result: Detections, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The row of ours that is each stored box's own twin in geometry, heading, score and class, or -1."""
    ours = result.boxes.values.numpy()[:, None]
    if boxes.shape[1] == 9 and result.boxes.velocity is not None:
        ours = np.concatenate([ours, result.boxes.velocity.numpy()[:, None]], -1)
    difference = np.abs(ours - boxes[None])
    turned = difference[..., 6] % (2 * np.pi)
    difference[..., 6] = np.minimum(turned, 2 * np.pi - turned)
    twin = (difference < FINAL_DISTANCE).all(-1)
    twin &= (result.labels.numpy()[:, None] + 1) == labels[None]
    twin &= np.abs(result.scores.numpy()[:, None] - scores[None]) < 1e-3
    used = np.zeros(len(ours), bool)
    found = np.full(len(boxes), -1)
    for column in range(len(boxes)):
        free = np.flatnonzero(twin[:, column] & ~used)
        if len(free):
            used[free[0]], found[column] = True, free[0]
    return found
