"""MinkLoc3Dv2's backbone: a sparse feature pyramid in MinkowskiEngine's dialect (Komorowski, ICPR 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from perception.dense import Linear
from perception.errors import PerceptionError
from perception.sparse import BatchNorm, ConvNormReLU, InverseConv, SparseConv, SparseTensor, SubmanifoldConv
from perception.sparse.pool import global_mean
from perception.sparse.scatter import gather_rows


def conv_norm(conv: SparseConv | SubmanifoldConv, channels: int, rectify: bool = True) -> ConvNormReLU:
    """With MinkowskiEngine's normalisation."""
    return ConvNormReLU(conv, channels, eps=1e-5, momentum=0.1, rectify=rectify)


class ChannelAttention(nn.Module):
    """Each channel times a weight, from the mean of its neighbours over the cloud (ECA-Net, Wang et al. 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = int(abs((math.log2(channels) + 1) / 2))
        width += 1 - width % 2
        self.conv = nn.Conv1d(1, 1, width, padding=width // 2, bias=False)

    def forward(self, x: SparseTensor) -> SparseTensor:
        weight = self.conv(global_mean(x)[:, None])[:, 0].sigmoid()
        return x.with_features(x.features * gather_rows(weight, x.coordinates[:, 0].long()))


class PointwiseNorm(nn.Module):
    """A linear layer and batch normalisation: the way beside a block that changes the channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = Linear(inputs, outputs, bias=False)
        self.norm = BatchNorm(outputs)

    def forward(self, features: Tensor) -> Tensor:
        return self.norm(self.linear(features))


class ECABlock(nn.Module):
    """Two convolutions and channel attention beside the identity, ReLU after their sum."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = conv_norm(SubmanifoldConv(inputs, outputs, 3), outputs)
        self.second = conv_norm(SubmanifoldConv(outputs, outputs, 3), outputs, rectify=False)
        self.channels = ChannelAttention(outputs)
        self.shortcut = PointwiseNorm(inputs, outputs) if inputs != outputs else nn.Identity()

    def forward(self, x: SparseTensor) -> SparseTensor:
        found = self.channels(self.second(self.first(x)))
        return found.with_features((found.features + self.shortcut(x.features)).relu())


class MinkFPN(nn.Module):
    """Halve the grid once for each of ``planes``, then go ``top_down`` levels back up, adding what was there."""

    def __init__(self, inputs: int, planes: Sequence[int], outputs: int, top_down: int, first_kernel: int = 5) -> None:
        super().__init__()
        if not 0 <= top_down < len(planes):
            raise PerceptionError(f"{top_down} levels up of {len(planes)}", "fewer levels up than down")
        befores = [planes[0], *planes[:-1]]
        self.stem = conv_norm(SubmanifoldConv(inputs, planes[0], first_kernel), planes[0])
        self.downs = nn.ModuleList(
            conv_norm(SparseConv(width, width, 2, stride=2, dialect="minkowski"), width) for width in befores
        )
        self.blocks = nn.ModuleList(ECABlock(before, plane) for before, plane in zip(befores, planes))
        self.laterals = nn.ModuleList(
            Linear(plane, outputs, bias=False) for plane in list(reversed(planes))[: top_down + 1]
        )
        self.ups = nn.ModuleList(InverseConv(outputs, outputs, 2) for _ in range(top_down))
        for module in self.modules():
            if isinstance(module, (SubmanifoldConv, SparseConv)):  # He et al. 2015, by the outputs
                fan = len(module.weight) * math.prod(module.kernel)
                nn.init.normal_(module.weight, 0, math.sqrt(2 / fan))

    def forward(self, x: SparseTensor) -> SparseTensor:
        x = self.stem(x)
        levels = []
        for down, block in zip(self.downs, self.blocks):
            x = block(down(x))
            levels.append(x)
        x = x.map(self.laterals[0])
        for number, (up, lateral) in enumerate(zip(self.ups, list(self.laterals)[1:]), start=2):
            finer = levels[-number]
            encoder = self.downs[len(levels) + 1 - number].conv
            x = up(x, encoder, finer.sites)
            x = x.with_features(x.features + lateral(finer.features))
        return x
