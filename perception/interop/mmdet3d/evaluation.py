"""Overlaps of mmdet3d's KITTI metric without a GPU: its own module for them is written for CUDA and fails on import."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from perception.geometry.overlap import bev_intersection

NAME = "mmdet3d.evaluation.functional.kitti_utils.rotate_iou"


def rotate_iou_gpu_eval(
    boxes: np.ndarray, query_boxes: np.ndarray, criterion: int = -1, device_id: int = 0
) -> np.ndarray:
    """(N, K) float32, by mmdet3d's name and arguments; boxes (N, 5), (K, 5): centre, sizes, angle clockwise.

    ``criterion``: shared area over the union (-1), over that of the query (0), over that of the box (1), or alone.
    """
    first, second = _counter_clockwise(boxes), _counter_clockwise(query_boxes)
    shared = bev_intersection(first, second)
    area, other = first[:, 3:5].prod(1)[:, None], second[:, 3:5].prod(1)[None]
    ones = torch.ones_like(shared)
    below = {-1: area + other - shared, 0: other * ones, 1: area * ones}.get(criterion, ones)
    ratio = torch.where(below > 0, shared / below, torch.zeros_like(shared))
    return ratio.numpy().astype(np.float32)


def install() -> None:
    """Stand where mmdet3d's module cannot work; with a GPU its own is left alone."""
    from numba import cuda

    if NAME not in sys.modules and not cuda.is_available():
        module = ModuleType(NAME, __doc__)
        module.rotate_iou_gpu_eval = rotate_iou_gpu_eval  # type: ignore[attr-defined]
        sys.modules[NAME] = module


def _counter_clockwise(flat: np.ndarray) -> Tensor:
    """Boxes (N, 7) one metre high."""
    values = torch.from_numpy(np.asarray(flat, np.float64).reshape(-1, 5))
    ground, high = torch.zeros(len(values), 1), torch.ones(len(values), 1)
    return torch.cat([values[:, :2], ground, values[:, 2:4], high, -values[:, 4:]], 1)
