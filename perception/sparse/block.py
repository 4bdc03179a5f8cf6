"""The unit that sparse backbones are built of: convolution, batch normalisation, ReLU."""

from __future__ import annotations

import torch
from torch import nn

from perception.sparse.conv import SparseLayer
from perception.sparse.norm import BatchNorm
from perception.sparse.tensor import SparseTensor


class ConvNormReLU(nn.Module):
    """A sparse convolution, batch normalisation and, unless ``rectify`` is off, ReLU.

    In use without gradients the normalisation is folded into the convolution and all three are one pass over memory.
    """

    def __init__(
        self, conv: SparseLayer, channels: int, eps: float = 1e-3, momentum: float = 0.01, rectify: bool = True
    ) -> None:
        super().__init__()
        self.conv = conv
        self.norm = BatchNorm(channels, eps=eps, momentum=momentum)
        self.rectify = rectify

    def forward(self, x: SparseTensor) -> SparseTensor:
        if self.training or torch.is_grad_enabled():
            output = self.conv(x).map(self.norm)
            return output.map(torch.relu) if self.rectify else output
        scale, shift = self.norm.folded()
        return self.conv.fused(x, scale, shift, self.rectify)
