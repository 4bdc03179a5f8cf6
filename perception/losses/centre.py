"""Losses of heads that find objects by their centres (Zhou et al. 2019, CornerNet; Yin et al. 2021, CenterPoint)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from perception.geometry import iou_3d

# Probabilities stay this far from 0 and 1: the logarithms and their gradients then stay bounded.
MARGIN = 1e-4


def penalised_focal(logits: Tensor, heatmap: Tensor, alpha: float = 2.0, beta: float = 4.0) -> Tensor:
    """Focal loss with fewer penalties near centres, over the number of centres (Law & Deng 2018, equation 1).

    ``heatmap`` has the shape of ``logits``, 1 exactly at centres and less elsewhere; without a centre, a plain sum.
    """
    probability = logits.float().sigmoid().clamp(MARGIN, 1 - MARGIN)
    centre = heatmap == 1
    found = probability.log() * (1 - probability) ** alpha
    empty = (1 - probability).log() * probability**alpha * (1 - heatmap) ** beta
    return -torch.where(centre, found, empty).sum() / centre.sum().clamp(min=1)


def mean_l1(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean over the objects of |predicted - target|, (C,) of both (N, C); unknown (NaN) targets count as met."""
    known = ~target.isnan()
    difference = (predicted.float() - target.nan_to_num(0.0)).abs()
    return torch.where(known, difference, 0.0).sum(0) / max(len(target), 1)


def overlap_l1(predicted: Tensor, boxes: Tensor, truth: Tensor) -> Tensor:
    """Mean |predicted - (2 IoU - 1)| of the overlaps (N,) that a network says its ``boxes`` (N, 7) have with ``truth``.

    The overlap is that of the volumes, headings included; no gradient reaches the boxes.
    """
    overlap = iou_3d(boxes.detach().float(), truth, aligned=True).to(torch.float32)
    return F.l1_loss(predicted.float(), 2 * overlap - 1, reduction="sum") / max(len(truth), 1)


def distance_iou(boxes: Tensor, truth: Tensor) -> Tensor:
    """Mean 1 - DIoU (Zheng et al. 2020, equation 7) of boxes (N, 7) with ``truth`` (N, 7), headings left out.

    IoU of the volumes as if both lay along the axes, minus the squared distance of the centres over the squared
    diagonal of the smallest box around both.
    """
    half, true_half = boxes[:, 3:6] / 2, truth[:, 3:6] / 2
    low, true_low = boxes[:, :3] - half, truth[:, :3] - true_half
    high, true_high = boxes[:, :3] + half, truth[:, :3] + true_half
    shared = (torch.minimum(high, true_high) - torch.maximum(low, true_low)).clamp(min=0).prod(1)
    union = boxes[:, 3:6].prod(1) + truth[:, 3:6].prod(1) - shared
    around = torch.maximum(high, true_high) - torch.minimum(low, true_low)
    distance = ((boxes[:, :3] - truth[:, :3]) ** 2).sum(1) / (around**2).sum(1)
    return (1 - (shared / union - distance).clamp(-1, 1)).sum() / max(len(truth), 1)
