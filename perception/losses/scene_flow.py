"""Supervised losses of scene flow, on the motion beyond the ego motion: predicted and true flow (N, 3), metres a frame.

Points whose true flow is not known (NaN) must be left out before; without points a loss is zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

FRAME = 0.1  # seconds between two scans of the data sets that the constants below were chosen on
SLOW, FAST = 0.4, 1.0  # m/s


def speed_group_loss(flow: Tensor, true: Tensor) -> Tensor:
    """DeFlow's loss (Zhang et al. 2024, equation 6): the mean errors of slow, medium and fast points, added.

    The many points that stand still thus weigh no more than the few that move; a group without points adds nothing.
    """
    error = (flow - true).norm(dim=1)
    speed = true.norm(dim=1) / FRAME
    groups = speed < SLOW, (speed >= SLOW) & (speed <= FAST), speed > FAST
    return torch.stack([_mean(error, group) for group in groups]).sum()


def speed_scaled_loss(flow: Tensor, true: Tensor) -> Tensor:
    """ZeroFlow's loss (Vedder et al. 2024): errors scaled from 0.1 at 0.5 m/s and below to 1 at 1 m/s and above."""
    error = (flow - true).norm(dim=1)
    scale = (1.8 * true.norm(dim=1) / FRAME - 0.8).clamp(0.1, 1.0)
    return _mean(error * scale)


def foreground_loss(flow: Tensor, true: Tensor, foreground: Tensor) -> Tensor:
    """FastFlow3D's loss (Jund et al. 2021, section 4): points of the background count a tenth."""
    error = (flow - true).norm(dim=1)
    return _mean(error * torch.where(foreground, 1.0, 0.1))


def _mean(values: Tensor, chosen: Tensor | None = None) -> Tensor:
    """Mean of the chosen values, 0 with zero gradients where there are none."""
    if chosen is None:
        return values.sum() / max(len(values), 1)
    return torch.where(chosen, values, 0.0).sum() / chosen.sum().clamp(min=1)
