"""Supervision of predicted importance: cells inside labelled boxes matter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perception.backbones.cells import lowest_corners
from perception.backbones.focal import Importance
from perception.geometry import box_of_points
from perception.sparse import Sites, VoxelGrid

SMALLEST = 1e-7


def squashed_focal(logits: Tensor, inside: Tensor, gamma: float = 2.0) -> Tensor:
    """Mean over cells and both classes of the focal loss of softmax(1 - p, p), p = sigmoid(``logits`` (N,)).

    The published code squashes twice, so that no cell is ever surer than 1 / (1 + 1/e) = 0.73, and divides by twice
    the number of cells (Chen et al. 2022, section 3.2, and its published form). Zero for no cells.
    """
    probability = logits.float().sigmoid()
    right = (2 * torch.where(inside, probability, 1 - probability) - 1).sigmoid().clamp(SMALLEST, 1 - SMALLEST)
    return -((1 - right) ** gamma * right.log()).sum() / max(2 * len(logits), 1)


def objectness_loss(importances: Sequence[Importance], boxes: Sequence[Tensor], grid: VoxelGrid) -> Tensor:
    """Sum over focal convolutions of ``squashed_focal``; ``boxes`` (M, 7) of each sample.

    A cell is inside a box if its lowest corner is, as published; there KITTI's range and voxels served every data set,
    here ``grid`` is the model's own.
    """
    terms = [squashed_focal(part.logits, cells_inside(part.sites, boxes, grid)) for part in importances]
    return torch.stack(terms).sum() if terms else torch.zeros(())


def cells_inside(sites: Sites, boxes: Sequence[Tensor], grid: VoxelGrid) -> Tensor:
    """(N,) bool: whether the lowest corner of each cell lies in a box of its sample."""
    corners = lowest_corners(sites, grid)
    inside = torch.zeros(len(sites), dtype=torch.bool, device=sites.device)
    for sample, of_sample in enumerate(boxes):
        rows = (sites.coordinates[:, 0] == sample).nonzero()[:, 0]
        inside[rows] = box_of_points(corners[rows], of_sample[:, :7]) >= 0
    return inside
