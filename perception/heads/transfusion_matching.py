"""Queries matched one to one with objects (Carion et al. 2020, DETR; costs of TransFusion, Bai et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perception.config import config
from perception.errors import missing_extra
from perception.geometry import iou_3d


@config
class MatchingCosts:
    """Weights of the classification, of the distance of centres seen from above, and of the overlap."""

    classification: float = 0.15
    centre: float = 0.25
    overlap: float = 0.25
    alpha: float = 0.25
    gamma: float = 2.0


def matching_cost(
    logits: Tensor, boxes: Tensor, truth: Tensor, labels: Tensor, extent: Sequence[float], costs: MatchingCosts
) -> Tensor:
    """Cost (P, G) float64 of giving query p, with ``logits`` (P, C) and ``boxes`` (P, 7), the object g.

    ``truth`` (G, 7), ``labels`` (G,); ``extent``: metres of the map along x and y, in which centres are measured.
    Overlaps are those of the oriented volumes. (OpenPCDet takes the centre's z for the bottom's in this one place.)
    """
    score = logits.double().sigmoid()[:, labels]
    tiny = 1e-12
    found = -(score + tiny).log() * costs.alpha * (1 - score) ** costs.gamma
    empty = -(1 - score + tiny).log() * (1 - costs.alpha) * score**costs.gamma
    steps = (boxes[:, None, :2] - truth[None, :, :2]).double() / truth.new_tensor(extent).double()
    overlap = iou_3d(boxes, truth)
    cost = costs.classification * (found - empty) + costs.centre * steps.abs().sum(-1) - costs.overlap * overlap
    # A network that has diverged must fail at its loss, with a message that says so, not here.
    return cost.nan_to_num(1e6, 1e6, -1e6)


def assign(cost: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns (M,) of the pairs of least total cost, M = min(P, G); on the cost's device."""
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise missing_extra("scipy", "train") from None
    rows, columns = linear_sum_assignment(cost.detach().cpu().numpy())
    return torch.from_numpy(rows).to(cost.device), torch.from_numpy(columns).to(cost.device)
