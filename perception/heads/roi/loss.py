"""Losses of a second stage (Shi et al. 2020, PV-RCNN, section 3.4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from perception.boxes import Boxes3D
from perception.config import config
from perception.heads.roi import refinement
from perception.heads.roi.proposals import Refined
from perception.heads.roi.sampling import RoITargets


@config
class RoILossWeights:
    """Weights of the parts, and where smooth L1 of the residuals turns from square to straight."""

    score: float = 1.0
    location: float = 1.0
    corner: float = 1.0
    smooth_l1_beta: float = 1 / 9


def roi_loss(refined: Refined, targets: RoITargets, weights: RoILossWeights) -> dict[str, Tensor]:
    """Weighted parts: scores over all drawn proposals, boxes and corners over the foreground of the whole batch."""
    number = max(len(targets.scores), 1)
    score = F.binary_cross_entropy_with_logits(refined.scores.float(), targets.scores, reduction="sum") / number

    residuals, proposals = refined.residuals.float(), targets.proposals.boxes
    # Background has no box: its targets are those of the proposal itself, and count nothing.
    wanted = torch.where(targets.foreground[:, None], targets.boxes, proposals)
    encoded = refinement.encode(wanted, proposals)
    deviation = F.smooth_l1_loss(residuals, encoded, reduction="none", beta=weights.smooth_l1_beta).sum(1)
    foreground = targets.foreground.to(residuals.dtype)
    normaliser = foreground.sum().clamp(min=1)
    location = (deviation * foreground).sum() / normaliser

    rows = targets.foreground.nonzero()[:, 0]
    corner = corner_loss(refined.boxes[rows], targets.boxes[rows]).sum() / normaliser
    return {
        "roi_score": score * weights.score,
        "roi_location": location * weights.location,
        "roi_corner": corner * weights.corner,
    }


def corner_loss(boxes: Tensor, objects: Tensor) -> Tensor:
    """Mean smooth L1 (N,) of the distances between corners of boxes (N, 7) and objects (N, 7), metres.

    The object may be turned by half a turn, whichever is nearer corner by corner (Qi et al. 2018, Frustum PointNets,
    equation 2, in OpenPCDet's form).
    """
    opposite = torch.cat([objects[:, :6], objects[:, 6:] + torch.pi], 1)
    corners = Boxes3D(boxes).corners()
    distance = torch.minimum(
        (corners - Boxes3D(objects).corners()).norm(dim=2), (corners - Boxes3D(opposite).corners()).norm(dim=2)
    )
    return F.smooth_l1_loss(distance, torch.zeros_like(distance), reduction="none").mean(1)
