"""Losses of people's joints (VoxelKP, Shi et al., ICCV 2025, section 3.4; weights of its released configuration)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Below this error, in the head's own units (cells along x and y, metres along z), the loss is quadratic.
BETA = 0.1
HIDDEN, SEEN = 1.0, 2.0


def joint_loss(predicted: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Smooth L1 of joints (N, J, 3): summed over the joints with their ``weights`` (J,), a mean over people and axes.

    Joints whose target is NaN cost nothing.
    """
    labelled = torch.isfinite(target).all(2, keepdim=True)
    loss = F.smooth_l1_loss(predicted.float(), target.nan_to_num(0.0), reduction="none", beta=BETA)
    loss = torch.where(labelled, loss, 0.0).sum(0) / max(len(target), 1)
    return (loss * weights[:, None]).sum(0).mean()


def bone_loss(predicted: Tensor, target: Tensor, bones: Sequence[tuple[int, int]]) -> Tensor:
    """Mean |length - true length| in metres over the bones of joints (N, J, 3) both of whose ends have a label.

    The released code compares the mean lengths over all people, and in units that mix cells and metres: errors of
    opposite signs cancel there. This is the same comparison bone by bone.
    """
    if not bones:
        return predicted.sum() * 0
    first, second = torch.tensor(bones, device=predicted.device).T
    known = torch.isfinite(target).all(2)
    known = known[:, first] & known[:, second]
    truth = (target[:, first] - target[:, second]).norm(dim=2)
    # The small number keeps the gradient finite where both ends are predicted in one place.
    step = predicted[:, first].float() - predicted[:, second].float()
    length = (step.square().sum(2) + 1e-12).sqrt()
    return torch.where(known, (length - truth.nan_to_num(0.0)).abs(), 0.0).sum() / known.sum().clamp(min=1)


def visibility_levels(positions: Tensor, visible: Tensor) -> Tensor:
    """What is predicted of each joint (N, J): 2 seen, 1 hidden, 0 without a label; NaN where nobody knows.

    ``positions`` (N, J, 3) NaN without a label, ``visible`` (N, J) from 0 to 1, NaN where not known.
    """
    return torch.where(torch.isfinite(positions).all(2), HIDDEN + visible.clamp(0, 1) * (SEEN - HIDDEN), 0.0)


def visibility_loss(predicted: Tensor, levels: Tensor) -> Tensor:
    """Mean |predicted - level| over people and joints (N, J); levels that are NaN cost nothing."""
    known = ~levels.isnan()
    loss = torch.where(known, (predicted.float() - levels.nan_to_num(0.0)).abs(), 0.0)
    return loss.sum() / max(loss.numel(), 1)
