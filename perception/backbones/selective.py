"""Sparse selective kernels and hybrid features: VoxelKP's stages (Shi et al., ICCV 2025, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perception.backbones.box_attention import BoxAttention, windows_of
from perception.dense import Linear
from perception.sparse import BatchNorm, ConvNormReLU, SparseTensor, SubmanifoldConv
from perception.sparse.pool import global_mean
from perception.sparse.scatter import gather_rows
from perception.sparse.windows import Origin


class SelectiveKernel(nn.Module):
    """Two convolutions of kernels 3 and 5; each sample decides, channel by channel, how much of which it takes.

    Li et al., Selective kernel networks, CVPR 2019, on sparse voxels: the mean over a sample's voxels of both branches'
    sum is squeezed to 1 / ``ratio`` of the channels, and a softmax over the two branches weighs them. Samples without
    voxels have no part in the statistics of the squeezed values.
    """

    def __init__(self, channels: int, ratio: int = 8) -> None:
        super().__init__()
        self.near = ConvNormReLU(SubmanifoldConv(channels, channels, 3), channels)
        self.wide = ConvNormReLU(SubmanifoldConv(channels, channels, 5), channels)
        squeezed = max(channels // ratio, 1)
        self.squeeze = Linear(channels, squeezed, bias=False)
        self.squeeze_norm = BatchNorm(squeezed)
        self.excite_near = Linear(squeezed, channels, bias=False)
        self.excite_wide = Linear(squeezed, channels, bias=False)

    def forward(self, x: SparseTensor) -> SparseTensor:
        near, wide = self.near(x).features, self.wide(x).features
        occupied = x.sites.rows_per_sample > 0
        means = global_mean(x.with_features(near + wide))[occupied]
        squeezed = self.squeeze_norm(self.squeeze(means)).relu()
        share = torch.stack([self.excite_near(squeezed), self.excite_wide(squeezed)]).softmax(0)[0]
        sample = (occupied.cumsum(0) - 1)[x.coordinates[:, 0].long()]
        weight = gather_rows(share, sample)
        return x.with_features(wide + weight * (near - wide))


class SelectiveBlock(nn.Module):
    """A residual block with a selective kernel between its two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = (SubmanifoldConv(channels, channels, 3, bias=True) for _ in range(2))
        self.first = ConvNormReLU(first, channels)
        self.selective = SelectiveKernel(channels)
        self.second = ConvNormReLU(second, channels, rectify=False)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return self.second(self.selective(self.first(x))).map(lambda features: torch.relu(features + x.features))


class PointwiseLayers(nn.Module):
    """Linear, normalisation and ReLU three times, voxel by voxel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.ModuleList(Linear(channels, channels) for _ in range(3))
        self.norm = nn.ModuleList(BatchNorm(channels) for _ in range(3))

    def forward(self, features: Tensor) -> Tensor:
        for linear, norm in zip(self.linear, self.norm):
            features = norm(linear(features)).relu()
        return features


class HybridStage(nn.Module):
    """``blocks`` selective blocks, each followed by box attention if ``window`` is given, beside pointwise layers whose
    fine detail is added at the end."""

    def __init__(
        self, channels: int, blocks: int, window: int | None = None, heads: int = 4, origin: Origin = "lowest in batch"
    ) -> None:
        super().__init__()
        self.window, self.origin = window, origin
        self.pointwise = PointwiseLayers(channels)
        layers: list[nn.Module] = []
        for _ in range(blocks):
            layers.append(SelectiveBlock(channels))
            if window is not None:
                layers.append(BoxAttention(channels, heads))
        self.blocks = nn.ModuleList(layers)

    def forward(self, x: SparseTensor) -> SparseTensor:
        buckets = None if self.window is None else windows_of(x.sites, self.window, self.origin)
        found = x
        for block in self.blocks:
            found = block(found, buckets) if isinstance(block, BoxAttention) else block(found)
        return found.map(lambda features: features + self.pointwise(x.features))


def depths(cells: int, kernels: Sequence[int]) -> list[int]:
    """Cells along z after each strided convolution of these kernels, from ``cells`` on."""
    found = [cells]
    for kernel in kernels:
        found.append((found[-1] + 2 * (kernel // 2) - kernel) // 2 + 1)
    return found[1:]
