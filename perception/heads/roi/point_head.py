"""Keypoint weighting (Shi et al. 2020, PV-RCNN, section 3.2): which keypoints lie on objects."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perception.dense import Layers, Linear
from perception.geometry import box_of_points
from perception.losses.focal import sigmoid_focal
from perception.points import PointBatch
from perception.sparse import BatchNorm


class PointHead(nn.Module):
    """Two hidden layers and one logit a point: (M, C) to (M,)."""

    def __init__(self, inputs: int, widths: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in widths:
            layers += [Linear(inputs, width, bias=False), BatchNorm(width), nn.ReLU()]
            inputs = width
        self.layers = Layers(*layers, Linear(inputs, 1))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)[:, 0]


@torch.no_grad()
def point_targets(places: PointBatch, boxes: Sequence[Tensor], margin: float = 0.2) -> Tensor:
    """(M,) int64: 1 in a box, -1 (leave out) in none but within one that is ``margin`` metres longer on each axis."""
    target = torch.zeros_like(places.sample)
    for sample, objects in enumerate(boxes):
        rows = (places.sample == sample).nonzero()[:, 0]
        wider = torch.cat([objects[:, :3], objects[:, 3:6] + margin, objects[:, 6:]], 1)
        inside = box_of_points(places.xyz[rows], objects) >= 0
        around = box_of_points(places.xyz[rows], wider) >= 0
        target[rows] = torch.where(inside, 1, torch.where(around, -1, 0))
    return target


def point_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss of logits (M,) over the points that are not left out, per positive point of the batch."""
    wanted = (target > 0).float()
    loss = sigmoid_focal(logits.float(), wanted) * (target >= 0)
    return loss.sum() / wanted.sum().clamp(min=1)
