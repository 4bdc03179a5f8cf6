"""Intersection over union of oriented boxes: exact in float64, on the CPU, whatever device the boxes are on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.geometry.clipping import intersection_matrix, intersection_pairs


def bev_intersection(a: Tensor, b: Tensor, aligned: bool = False) -> Tensor:
    """Area in m2 that boxes share seen from above: (N, M), or (N,) of row i with row i if ``aligned``; float64."""
    left, right = as_rows(a), as_rows(b)
    if aligned and len(left) != len(right):
        raise PerceptionError(
            f"{len(left)} boxes and {len(right)} boxes in pairs", "as many of the one as of the other"
        )
    areas = intersection_pairs(left, right) if aligned else intersection_matrix(left, right)
    return torch.from_numpy(areas).to(a.device)


def bev_iou(a: Tensor, b: Tensor, aligned: bool = False) -> Tensor:
    """Intersection over union seen from above: (N, M) or (N,), float64; 0 for boxes without area."""
    shared = bev_intersection(a, b, aligned)
    return _ratio(shared, _sizes(a, 2), _sizes(b, 2), aligned)


def iou_3d(a: Tensor, b: Tensor, aligned: bool = False) -> Tensor:
    """Intersection over union of volumes: (N, M) or (N,), float64; 0 for boxes without volume."""
    shared = bev_intersection(a, b, aligned)
    a, b = a.double(), b.double()
    first, second = (a, b) if aligned else (a[:, None], b[None])
    top = torch.minimum(first[..., 2] + first[..., 5] / 2, second[..., 2] + second[..., 5] / 2)
    bottom = torch.maximum(first[..., 2] - first[..., 5] / 2, second[..., 2] - second[..., 5] / 2)
    height = (top - bottom).nan_to_num(0.0).clamp(min=0)
    return _ratio(shared * height, _sizes(a, 3), _sizes(b, 3), aligned)


def nearest_bev_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU (N, M) seen from above with every heading rounded to the nearest axis, in the boxes' precision.

    The overlap by which anchors are assigned (Yan et al. 2018; OpenPCDet's nearest BEV IoU).
    """
    low_a, high_a = _axis_aligned(a)
    low_b, high_b = _axis_aligned(b)
    extent = torch.minimum(high_a[:, None], high_b[None]) - torch.maximum(low_a[:, None], low_b[None])
    shared = extent.clamp(min=0).prod(-1)
    union = (high_a - low_a).prod(-1)[:, None] + (high_b - low_b).prod(-1)[None] - shared
    return shared / union.clamp(min=1e-6)


def as_rows(boxes: Tensor) -> np.ndarray:
    """Boxes (N, 7) as a float64 array for the compiled kernels."""
    if boxes.ndim != 2 or boxes.shape[1] != 7:
        raise PerceptionError(f"boxes of shape {tuple(boxes.shape)}", "(N, 7): x y z length width height heading")
    return np.ascontiguousarray(boxes.detach().cpu().double().numpy())


def _sizes(boxes: Tensor, dimensions: int) -> Tensor:
    return boxes[:, 3 : 3 + dimensions].double().clamp(min=0).prod(1)


def _ratio(shared: Tensor, a: Tensor, b: Tensor, aligned: bool) -> Tensor:
    total = a + b if aligned else a[:, None] + b[None]
    union = total - shared
    return torch.where((shared > 0) & (union > 0), shared / union, 0.0)


def _axis_aligned(boxes: Tensor) -> tuple[Tensor, Tensor]:
    turned = (boxes[:, 6] - torch.floor(boxes[:, 6] / torch.pi + 0.5) * torch.pi).abs() >= torch.pi / 4
    half = torch.where(turned[:, None], boxes[:, [4, 3]], boxes[:, [3, 4]]) / 2
    return boxes[:, :2] - half, boxes[:, :2] + half
