"""A sparse U-Net: down by strided convolutions, back up to exactly the sites of each level (Graham et al. 2018)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from perception.backbones.sparse_encoder import downsample, submanifold
from perception.errors import PerceptionError
from perception.sparse import BatchNorm, InverseConv, SparseConv, SparseTensor


class Up(nn.Module):
    """From a coarse level back to the finer one, joined with its features, and a convolution on both."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = InverseConv(inputs, outputs, 3)
        self.norm = BatchNorm(outputs, eps=1e-3, momentum=0.01)
        self.merge = submanifold(2 * outputs, outputs)

    def forward(self, coarse: SparseTensor, fine: SparseTensor, encoder: SparseConv) -> SparseTensor:
        raised = self.norm(self.conv(coarse, encoder, fine.sites).features).relu()
        return self.merge(fine.with_features(torch.cat([raised, fine.features], 1)))


class SparseUNet(nn.Module):
    """Features at the resolution of the voxels, with ``channels[0]`` channels; one level for each number."""

    def __init__(self, inputs: int, channels: Sequence[int] = (16, 32, 48, 64)) -> None:
        super().__init__()
        if not channels:
            raise PerceptionError("a U-Net without levels", "the channels of one level or more")
        self.stem = submanifold(inputs, channels[0])
        self.blocks = nn.ModuleList(submanifold(c, c) for c in channels)
        self.down = nn.ModuleList(downsample(a, b) for a, b in itertools.pairwise(channels))
        self.up = nn.ModuleList(Up(b, a) for a, b in itertools.pairwise(channels))

    def forward(self, voxels: SparseTensor) -> SparseTensor:
        levels = [self.blocks[0](self.stem(voxels))]
        for down, block in zip(self.down, list(self.blocks)[1:]):
            levels.append(block(down(levels[-1])))
        x = levels.pop()
        for down, up in zip(reversed(self.down), reversed(self.up)):
            x = up(x, levels.pop(), down.conv)
        return x
