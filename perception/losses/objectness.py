"""Supervision of predicted importance: cells inside labelled boxes matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from perception.backbones.cells import lowest_corners
from perception.backbones.focal import Importance, Supervision
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


def objectness_loss(
    importances: Sequence[Importance], boxes: Sequence[Tensor], grid: VoxelGrid, supervision: Supervision = "inside"
) -> Tensor:
    """Sum over focal convolutions of ``squashed_focal``; ``boxes`` (M, 7) of each sample. Zero for "none".

    A cell is inside a box if its lowest corner is, as published; there KITTI's range and voxels served every data set,
    here ``grid`` is the model's own. ``cells_around`` is the rule of the authors' code for nuScenes.
    """
    if supervision == "none" or not importances:
        return torch.zeros((), device=importances[0].logits.device if importances else None)
    chosen = {"inside": cells_inside, "around": cells_around}[supervision]
    return torch.stack([squashed_focal(part.logits, chosen(part.sites, boxes, grid)) for part in importances]).sum()


def cells_inside(sites: Sites, boxes: Sequence[Tensor], grid: VoxelGrid) -> Tensor:
    """(N,) bool: whether the lowest corner of each cell lies in a box of its sample."""
    return _of_samples(sites, boxes, grid, lambda corners, of_sample: box_of_points(corners, of_sample[:, :7]) >= 0)


def cells_around(sites: Sites, boxes: Sequence[Tensor], grid: VoxelGrid) -> Tensor:
    """(N,) bool: whether the lowest corner of each cell is near the centre of a box of its sample.

    At most the box's width away in x, its length in y and its height in z, whatever its heading: the rule of the
    authors' code for nuScenes, whose boxes are written width first.
    """
    return _of_samples(sites, boxes, grid, _near_centres)


def _near_centres(corners: Tensor, boxes: Tensor) -> Tensor:
    near = torch.zeros(len(corners), dtype=torch.bool, device=corners.device)
    for centre, size in zip(boxes[:, :3], boxes[:, [4, 3, 5]]):
        near |= ((corners - centre).abs() <= size).all(1)
    return near


def _of_samples(
    sites: Sites, boxes: Sequence[Tensor], grid: VoxelGrid, chosen: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    corners = lowest_corners(sites, grid)
    inside = torch.zeros(len(sites), dtype=torch.bool, device=sites.device)
    for sample, of_sample in enumerate(boxes):
        rows = (sites.coordinates[:, 0] == sample).nonzero()[:, 0]
        inside[rows] = chosen(corners[rows], of_sample)
    return inside
