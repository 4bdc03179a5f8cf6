"""The sparse U-Net of PointGroup's descendants and of TreeLearn: residual blocks that normalise before they convolve.

In spconv's dialect: kernels of 2 with stride 2 down, and back up to exactly the sites of the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from perception.dense import Linear
from perception.sparse import BatchNorm, InverseConv, SparseConv, SparseTensor, SubmanifoldConv

EPS, MOMENTUM = 1e-4, 0.1


class NormReLU(nn.Module):
    """Batch normalisation and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = BatchNorm(channels, eps=EPS, momentum=MOMENTUM)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return x.map(lambda features: torch.relu(self.norm(features)))


class PreactivatedBlock(nn.Module):
    """Twice normalisation, ReLU and convolution, beside a shortcut (He et al., ECCV 2016)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.before_first = NormReLU(inputs)
        self.first = SubmanifoldConv(inputs, outputs, 3)
        self.before_second = NormReLU(outputs)
        self.second = SubmanifoldConv(outputs, outputs, 3)
        self.shortcut = Linear(inputs, outputs, bias=False) if inputs != outputs else None

    def forward(self, x: SparseTensor) -> SparseTensor:
        kept: Tensor = x.features if self.shortcut is None else self.shortcut(x.features)
        changed = self.second(self.before_second(self.first(self.before_first(x))))
        return changed.map(lambda features: features + kept)


class Step(nn.Module):
    """Between two grids: ``down`` and, after everything below it, ``up`` and two blocks on both features."""

    def __init__(self, fine: int, coarse: int) -> None:
        super().__init__()
        self.before_down = NormReLU(fine)
        self.down = SparseConv(fine, coarse, 2, 2)
        self.before_up = NormReLU(coarse)
        self.up = InverseConv(coarse, fine, 2)
        self.tail = nn.Sequential(PreactivatedBlock(2 * fine, fine), PreactivatedBlock(fine, fine))

    def lower(self, x: SparseTensor) -> SparseTensor:
        lowered: SparseTensor = self.down(self.before_down(x))
        return lowered

    def lift(self, below: SparseTensor, fine: SparseTensor) -> SparseTensor:
        raised = self.up(self.before_up(below), self.down, fine.sites)
        both = fine.with_features(torch.cat([fine.features, raised.features], 1))
        lifted: SparseTensor = self.tail(both)
        return lifted


class PreactivatedUNet(nn.Module):
    """``channels`` of each grid, the finest first; features of the finest come out at the sites that went in."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Sequential(*(PreactivatedBlock(c, c) for _ in range(2))) for c in channels)
        steps = [Step(fine, coarse) for fine, coarse in pairwise(channels)]
        self.steps: Sequence[Step] = nn.ModuleList(steps)  # type: ignore[assignment]

    def forward(self, x: SparseTensor) -> SparseTensor:
        kept = []
        for place, level in enumerate(self.levels):
            x = level(x)
            kept.append(x)
            if place < len(self.steps):
                x = self.steps[place].lower(x)
        for place in reversed(range(len(self.steps))):
            x = self.steps[place].lift(x, kept[place])
        return x
