"""Which points lie in which boxes."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from perception.compiled import compiled
from perception.errors import PerceptionError
from perception.geometry.overlap import as_rows


def points_in_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """(P, N) bool: whether each point (P, 3) lies in each box (N, 7), faces included."""
    xyz, rows = _as_points(points), as_rows(boxes)
    order = np.argsort(xyz[:, 0], kind="stable")
    mask = np.zeros((len(xyz), len(rows)), np.bool_)
    _mark(xyz[order], order, rows, mask)
    return torch.from_numpy(mask).to(points.device)


def box_of_points(points: Tensor, boxes: Tensor) -> Tensor:
    """(P,) int64: the first box (N, 7) that each point (P, 3) lies in, or -1."""
    xyz, rows = _as_points(points), as_rows(boxes)
    order = np.argsort(xyz[:, 0], kind="stable")
    first = np.full(len(xyz), -1, np.int64)
    _number(xyz[order], order, rows, first)
    return torch.from_numpy(first).to(points.device)


def _as_points(points: Tensor) -> np.ndarray:
    if points.ndim != 2 or points.shape[1] < 3:
        raise PerceptionError(f"points of shape {tuple(points.shape)}", "(P, 3): x y z")
    return points[:, :3].detach().cpu().double().numpy()


@compiled
def _inside(x: float, y: float, z: float, box: np.ndarray, cos: float, sin: float) -> bool:
    dx, dy = x - box[0], y - box[1]
    return (
        abs(z - box[2]) <= box[5] / 2
        and abs(dx * cos + dy * sin) <= box[3] / 2
        and abs(dy * cos - dx * sin) <= box[4] / 2
    )


@compiled
def _mark(xyz: np.ndarray, order: np.ndarray, boxes: np.ndarray, mask: np.ndarray) -> None:
    """Points sorted by x: each box looks only at those within its radius along x."""
    for j in range(len(boxes)):
        radius = math.hypot(boxes[j, 3], boxes[j, 4]) / 2
        cos, sin = math.cos(boxes[j, 6]), math.sin(boxes[j, 6])
        start = np.searchsorted(xyz[:, 0], boxes[j, 0] - radius)
        stop = np.searchsorted(xyz[:, 0], boxes[j, 0] + radius, side="right")
        for i in range(start, stop):
            if _inside(xyz[i, 0], xyz[i, 1], xyz[i, 2], boxes[j], cos, sin):
                mask[order[i], j] = True


@compiled
def _number(xyz: np.ndarray, order: np.ndarray, boxes: np.ndarray, first: np.ndarray) -> None:
    for j in range(len(boxes) - 1, -1, -1):
        radius = math.hypot(boxes[j, 3], boxes[j, 4]) / 2
        cos, sin = math.cos(boxes[j, 6]), math.sin(boxes[j, 6])
        start = np.searchsorted(xyz[:, 0], boxes[j, 0] - radius)
        stop = np.searchsorted(xyz[:, 0], boxes[j, 0] + radius, side="right")
        for i in range(start, stop):
            if _inside(xyz[i, 0], xyz[i, 1], xyz[i, 2], boxes[j], cos, sin):
                first[order[i]] = j
