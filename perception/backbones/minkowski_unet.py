"""The sparse U-Net of SegmentAnyTree, in MinkowskiEngine's dialect (Wielgosz et al. 2024; Choy et al., CVPR 2019).

Each module is a convolution and residual blocks. In the decoder every convolution is a transposed one, those of stride
1 included: MinkowskiEngine then reads the kernel from its far end.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perception.dense import Linear
from perception.sparse import BatchNorm, ConvNormReLU, InverseConv, Sites, SparseConv, SparseTensor, SubmanifoldConv

Level = tuple[int, int]
"""Stride and output channels of a module."""
EPS, MOMENTUM = 1e-5, 0.1


class PointwiseNorm(nn.Module):
    """A convolution of one cell is a linear layer; batch normalisation after it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = Linear(inputs, outputs, bias=False)
        self.norm = BatchNorm(outputs, eps=EPS, momentum=MOMENTUM)

    def forward(self, features: Tensor) -> Tensor:
        normalised: Tensor = self.norm(self.linear(features))
        return normalised


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut. As published, ReLU comes before the sum and none after it."""

    def __init__(self, inputs: int, outputs: int, mirrored: bool) -> None:
        super().__init__()
        self.first = _unit(SubmanifoldConv(inputs, outputs, 3, mirrored=mirrored), outputs)
        self.second = _unit(SubmanifoldConv(outputs, outputs, 3, mirrored=mirrored), outputs)
        self.shortcut = PointwiseNorm(inputs, outputs) if inputs != outputs else None

    def forward(self, x: SparseTensor) -> SparseTensor:
        kept = x.features if self.shortcut is None else self.shortcut(x.features)
        return self.second(self.first(x)).map(lambda features: features + kept)


class DownModule(nn.Module):
    """A convolution, which halves the grid where ``stride`` is 2, and two residual blocks."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        between = inputs if stride > 1 else outputs
        if stride > 1:
            conv = SparseConv(inputs, between, 3, stride, dialect="minkowski")
            self.enter = _unit(conv, between)
        else:
            self.enter = _unit(SubmanifoldConv(inputs, between, 3), between)
        self.blocks = _blocks(between, outputs, mirrored=False)

    def forward(self, x: SparseTensor) -> SparseTensor:
        entered: SparseTensor = self.blocks(self.enter(x))
        return entered


class Raise(nn.Module):
    """From a coarser grid back to the sites that ``encoder`` started from; batch normalisation and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = InverseConv(channels, channels, 3)
        self.norm = BatchNorm(channels, eps=EPS, momentum=MOMENTUM)

    def forward(self, x: SparseTensor, encoder: SparseConv, sites: Sites) -> SparseTensor:
        return self.conv(x, encoder, sites).map(lambda features: torch.relu(self.norm(features)))


class UpModule(nn.Module):
    """A transposed convolution, back to a finer grid where ``stride`` is 2, and two residual blocks."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        between = inputs if stride > 1 else outputs
        self.enter: Raise | ConvNormReLU
        if stride > 1:
            self.enter = Raise(between)
        else:
            self.enter = _unit(SubmanifoldConv(inputs, between, 3, mirrored=True), between)
        self.blocks = _blocks(between, outputs, mirrored=True)

    def forward(self, x: SparseTensor, down: DownModule, sites: Sites) -> SparseTensor:
        """``down`` is the encoder's module at this place and ``sites`` what it was applied to."""
        if isinstance(self.enter, Raise):
            assert isinstance(down.enter.conv, SparseConv)
            x = self.enter(x, down.enter.conv, sites)
        else:
            x = self.enter(x)
        entered: SparseTensor = self.blocks(x)
        return entered


class MinkowskiUNet(nn.Module):
    """``downs`` and ``ups`` as many modules each; from the second on, a decoder module also takes the encoder's
    output on its grid, behind its own input and before its first convolution.

    ``forward`` keeps the sites: what comes out belongs to the rows that went in.
    """

    def __init__(self, inputs: int, downs: Sequence[Level], ups: Sequence[Level]) -> None:
        super().__init__()
        channels = [inputs, *(outputs for _, outputs in downs)]
        self.downs = nn.ModuleList(
            DownModule(before, outputs, stride) for before, (stride, outputs) in zip(channels, downs)
        )
        self.ups = nn.ModuleList()
        current = channels[-1]
        for place, (stride, outputs) in enumerate(ups):
            skip = channels[-1 - place] if place else 0
            self.ups.append(UpModule(current + skip, outputs, stride))
            current = outputs
        self.channels = current

    def forward(self, x: SparseTensor) -> SparseTensor:
        inputs, outputs = [], []
        for down in self.downs:
            inputs.append(x)
            x = down(x)
            outputs.append(x)
        for place, up in enumerate(self.ups):
            if place:
                x = x.with_features(torch.cat([x.features, outputs[-1 - place].features], 1))
            x = up(x, self.downs[-1 - place], inputs[-1 - place].sites)
        return x


def _unit(conv: SubmanifoldConv | SparseConv, channels: int) -> ConvNormReLU:
    return ConvNormReLU(conv, channels, EPS, MOMENTUM)


def _blocks(inputs: int, outputs: int, mirrored: bool) -> nn.Sequential:
    return nn.Sequential(ResidualBlock(inputs, outputs, mirrored), ResidualBlock(outputs, outputs, mirrored))
