"""The small networks of a sparse centre head, on all rows of a sparse map or on a few of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perception.dense import Linear, linear
from perception.errors import PerceptionError
from perception.sparse import BatchNorm, ConvNormReLU, SparseTensor, SubmanifoldConv


class SparseBranch(nn.Module):
    """A layer of ``kernel`` 1 or 3 with normalisation and ReLU, then a linear one: (N, C) features to (N, width)."""

    def __init__(self, channels: int, width: int, kernel: int) -> None:
        super().__init__()
        if kernel not in (1, 3):
            raise PerceptionError(f"a kernel of {kernel}", "1 or 3")
        self.hidden: PointwiseLayer | ConvNormReLU = (
            PointwiseLayer(channels)
            if kernel == 1
            else ConvNormReLU(
                SubmanifoldConv(channels, channels, 3, bias=True, dimension=2), channels, eps=1e-5, momentum=0.1
            )
        )
        self.out = Linear(channels, width)

    def forward(self, x: SparseTensor) -> Tensor:
        return self.out(self.hidden(x).features)

    def at(self, x: SparseTensor, rows: Tensor) -> Tensor:
        """What ``forward`` answers in use in some ``rows`` (M,), at the cost of those only."""
        if isinstance(self.hidden, PointwiseLayer):
            return self.out(self.hidden.rows(x.features[rows]))
        values = linear(neighbourhood(x, rows), self.hidden.conv.weight.flatten(1), self.hidden.conv.bias)
        return self.out(self.hidden.norm(values).relu())


class PointwiseLayer(nn.Module):
    """Linear, norm and ReLU row by row: what a submanifold convolution of kernel 1 is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = Linear(channels, channels)
        self.norm = BatchNorm(channels, eps=1e-5, momentum=0.1)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return x.map(self.rows)

    def rows(self, features: Tensor) -> Tensor:
        return self.norm(self.linear(features)).relu()


def neighbourhood(x: SparseTensor, rows: Tensor) -> Tensor:
    """Features of the 3 x 3 cells around each of ``rows`` (M,), in the order of a kernel, empty ones zero: (M, 9 C)."""
    steps = torch.cartesian_prod(*[torch.arange(-1, 2, device=rows.device)] * 2)
    around = x.coordinates[rows].long()[:, None].repeat(1, len(steps), 1)
    around[..., 1:] += steps
    found = x.sites.find(around.flatten(0, 1))
    features = x.features[found.clamp(min=0)] * (found >= 0)[:, None]
    return features.view(len(rows), len(steps) * x.channels)
