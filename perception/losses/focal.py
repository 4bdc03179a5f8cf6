"""Focal loss (Lin et al. 2017, equation 5)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sigmoid_focal(logits: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Element-wise focal loss of logits against targets in {0, 1} of the same shape."""
    probability = torch.sigmoid(logits)
    miss = target * (1 - probability) + (1 - target) * probability
    balance = target * alpha + (1 - target) * (1 - alpha)
    return balance * miss**gamma * F.binary_cross_entropy_with_logits(logits, target, reduction="none")
