"""Normalisation of sparse features."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm1d):
    """BatchNorm1d over rows that, in training, falls back to the running statistics when a batch has under two rows.

    A cloud without points, or with one voxel, is a valid sample and has no variance to normalise with.
    """

    def forward(self, features: Tensor) -> Tensor:
        if self.training and len(features) < 2:
            return F.batch_norm(
                features, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(features)
