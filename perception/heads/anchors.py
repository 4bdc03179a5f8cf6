"""Anchors: boxes of a typical size at every cell of a bird's-eye-view map, and what labels ask of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from perception.config import config
from perception.geometry import nearest_bev_iou
from perception.heads import box_coder


@config
class AnchorClass:
    """Anchors of one class: size length width height and height of the bottom above z = 0 of the sensor, metres.

    An anchor is positive for an object above ``matched`` overlap and negative below ``unmatched``.
    """

    name: str
    size: tuple[float, float, float]
    bottom: float
    matched: float
    unmatched: float
    rotations: tuple[float, ...] = (0.0, 1.57)


def make_anchors(
    classes: Sequence[AnchorClass], point_range: Sequence[float], shape: tuple[int, int], centred: bool = False
) -> Tensor:
    """(H, W, A, 7): A runs over classes, then rotations.

    They spread from the range's minimum to its maximum inclusive, or, ``centred``, lie in the middle of the cells.
    """
    height, width = shape
    y = _positions(point_range[1], point_range[4], height, centred)
    x = _positions(point_range[0], point_range[3], width, centred)
    kinds = torch.tensor(
        [[c.bottom + c.size[2] / 2, *c.size, angle] for c in classes for angle in c.rotations], dtype=torch.float64
    )
    anchors = torch.empty(height, width, len(kinds), 7, dtype=torch.float64)
    anchors[..., 0] = x[None, :, None]
    anchors[..., 1] = y[:, None, None]
    anchors[..., 2:] = kinds
    return anchors.float()


def _positions(low: float, high: float, cells: int, centred: bool) -> Tensor:
    margin = (high - low) / cells / 2 if centred else 0.0
    return torch.linspace(low + margin, high - margin, cells, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class AnchorTargets:
    """``labels`` (A,) int64: class + 1, 0 background, -1 to leave out; ``residuals`` (A, 7); true ``headings`` (A,)."""

    labels: Tensor
    residuals: Tensor
    headings: Tensor


def assign(anchors: Tensor, classes: Sequence[AnchorClass], boxes: Tensor, labels: Tensor) -> AnchorTargets:
    """Match anchors (H, W, A, 7) with boxes (N, 7) of class ``labels`` (N,), class by class.

    Besides the anchors above the threshold, the best ones of every object are positive, if they overlap at all
    (Yan et al. 2018 section 3.3; overlap is that of the nearest axis-aligned rectangles).
    """
    per_cell = anchors.shape[2]
    target = torch.zeros(anchors.shape[:3], dtype=torch.int64, device=anchors.device)
    matched = torch.zeros(*anchors.shape, device=anchors.device)
    first = 0
    for index, kind in enumerate(classes):
        span = slice(first, first + len(kind.rotations))
        first = span.stop
        chosen = boxes[labels == index]
        if len(chosen):
            row, label = _match(anchors[:, :, span].reshape(-1, 7), chosen, kind)
            shape = (*anchors.shape[:2], len(kind.rotations))
            target[:, :, span] = torch.where(label > 0, index + 1, label).view(shape)
            matched[:, :, span] = chosen[row].view(*shape, 7)
    assert first == per_cell
    flat, positive = anchors.view(-1, 7), (target > 0).view(-1)
    residuals = torch.zeros_like(flat)
    residuals[positive] = box_coder.encode(matched.view(-1, 7)[positive], flat[positive])
    return AnchorTargets(target.view(-1), residuals, matched.view(-1, 7)[:, 6])


def _match(anchors: Tensor, boxes: Tensor, kind: AnchorClass) -> tuple[Tensor, Tensor]:
    """Row of the box nearest to each anchor, and 1 positive, 0 negative, -1 undecided."""
    overlap = nearest_bev_iou(anchors, boxes)
    best, row = overlap.max(1)
    label = torch.full_like(row, -1)
    label[best < kind.unmatched] = 0
    label[best >= kind.matched] = 1
    reach = overlap.max(0).values
    label[((overlap == reach) & (reach > 0)).any(1)] = 1
    return row, label
