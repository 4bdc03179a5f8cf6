"""The same overlaps in plain torch, without compiled code: what the kernels are held to."""

from __future__ import annotations

import torch
from torch import Tensor

from perception.boxes import Boxes3D


def intersection_area(a: Tensor, b: Tensor) -> Tensor:
    """Area (N,) that row i of boxes (N, 7) shares with row i of the others, seen from above; float64."""
    a, b = a.double(), b.double()
    moved = b.clone()
    moved[:, :2] -= a[:, :2]
    polygon = _turn(Boxes3D(moved).corners()[:, :4, :2], -a[:, 6])
    filled = torch.ones(polygon.shape[:2], dtype=torch.bool)
    for axis in (0, 1):
        for sign in (1.0, -1.0):
            polygon, filled = _cut(polygon, filled, axis, sign, a[:, 3 + axis] / 2)
    first = polygon[:, :1]
    spokes = torch.where(filled[..., None], polygon, first) - first
    cross = spokes[:, :-1, 0] * spokes[:, 1:, 1] - spokes[:, 1:, 0] * spokes[:, :-1, 1]
    solid = (a[:, 3:5] > 0).all(1) & (b[:, 3:5] > 0).all(1)
    return torch.where(solid & filled.any(1), cross.sum(1).abs() / 2, 0.0)


def greedy_suppression(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices kept, best first, from the full matrix of overlaps."""
    rows = torch.arange(len(boxes))
    first, second = torch.meshgrid(rows, rows, indexing="ij")
    shared = intersection_area(boxes[first.flatten()], boxes[second.flatten()]).view(len(boxes), -1)
    area = boxes[:, 3:5].double().prod(1)
    above = (shared > 0) & (shared > threshold * (area[:, None] + area[None] - shared))
    kept: list[int] = []
    for row in scores.argsort(descending=True, stable=True).tolist():
        if not any(above[other, row] for other in kept):
            kept.append(row)
    return torch.tensor(kept, dtype=torch.int64)


def points_in_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """(P, N) bool: points (P, 3) inside boxes (N, 7) or on their faces."""
    offset = points[:, None, :3].double() - boxes[None, :, :3].double()
    planar = _turn(offset[..., :2].movedim(0, 1), -boxes[:, 6].double()).movedim(0, 1)
    local = torch.cat([planar, offset[..., 2:]], -1).abs()
    return (local <= boxes[None, :, 3:6].double() / 2).all(-1)


def _turn(points: Tensor, angle: Tensor) -> Tensor:
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    x, y = points.unbind(-1)
    return torch.stack([x * cos - y * sin, x * sin + y * cos], -1)


def _cut(polygon: Tensor, filled: Tensor, axis: int, sign: float, limit: Tensor) -> tuple[Tensor, Tensor]:
    """One step of Sutherland & Hodgman on padded polygons (N, V, 2): each edge gives up to two corners."""
    count = filled.sum(1, keepdim=True)
    following = (torch.arange(polygon.shape[1]) + 1) % count.clamp(min=1)
    ends = polygon.gather(1, following[..., None].expand_as(polygon))
    here = limit[:, None] - sign * polygon[..., axis]
    there = limit[:, None] - sign * ends[..., axis]
    crossing = filled & (here * there < 0)
    share = torch.where(crossing, here / (here - there), 0.0)
    met = polygon + share[..., None] * (ends - polygon)
    corners = torch.stack([polygon, met], 2).flatten(1, 2)
    valid = torch.stack([filled & (here >= 0), crossing], 2).flatten(1, 2)
    order = (~valid).long().argsort(dim=1, stable=True)[:, :8]
    return corners.gather(1, order[..., None].expand(-1, -1, 2)), valid.gather(1, order)
