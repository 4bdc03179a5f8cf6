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

    def folded(self) -> tuple[Tensor, Tensor]:
        """``scale`` and ``shift`` (C,) that do what the layer does in use."""
        assert self.running_mean is not None
        assert self.running_var is not None
        # Not 1 / sqrt: torch hands that to a library whose threads then spin where ours should run.
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale
