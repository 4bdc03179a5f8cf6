"""The sparse U-Net of Part-A2 (Shi et al. 2020), as SSF uses it: residual lateral blocks, merged on the way up."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perception.backbones.joining import add_folded, join
from perception.backbones.sparse_encoder import downsample, submanifold
from perception.backbones.sparse_resnet import ResidualBlock
from perception.errors import PerceptionError
from perception.sparse import BatchNorm, ConvNormReLU, InverseConv, SparseConv, SparseTensor
from perception.sparse.engines import convolve_fused

SSF_CHANNELS = ((128,), (128, 128), (128, 128), (128, 128, 128), (256, 256, 256), (256, 256, 256))


class InverseConvNormReLU(nn.Module):
    """Back to the sites of a finer level, normalisation and ReLU; one pass in use without gradients."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = InverseConv(inputs, outputs, 3)
        self.norm = BatchNorm(outputs, eps=1e-3, momentum=0.01)

    def forward(self, coarse: SparseTensor, encoder: SparseConv, fine: SparseTensor) -> SparseTensor:
        if self.training or torch.is_grad_enabled():
            return self.conv(coarse, encoder, fine.sites).map(lambda features: self.norm(features).relu())
        table = encoder.table(fine.sites).adjoint
        features = convolve_fused(coarse.features, self.conv.taps(), table, *self.norm.folded(), rectify=True)
        return fine.with_features(features)


class Join(nn.Module):
    """The residual block of a level's features, joined with what comes from below: (N, C) both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lateral = ResidualBlock(channels, bias=False)
        self.merge = submanifold(2 * channels, channels)

    def forward(self, level: SparseTensor, below: Tensor) -> SparseTensor:
        branch = self.lateral.second(self.lateral.first(level)).features
        joined = join(below, level.features, branch)
        # As published neighbouring channels are added, so each sum stays within one of the two inputs.
        return self.merge(level.with_features(joined)).map(lambda features: add_folded(features, joined))


class PartUNet(nn.Module):
    """Features (M, channels of the first level) at the sites of the voxels.

    ``channels[i]``: the convolutions of level i, the first of them with stride 2 except on the finest level; the
    last level's width is kept on the way up until the level below has another one.
    """

    def __init__(self, inputs: int, stem: int = 64, channels: Sequence[Sequence[int]] = SSF_CHANNELS) -> None:
        super().__init__()
        if not channels or not all(channels):
            raise PerceptionError(f"levels {channels}", "one level or more, with a convolution or more each")
        self.stem = submanifold(inputs, stem)
        self.levels, width = nn.ModuleList(), stem
        for number, widths in enumerate(channels):
            layers: list[nn.Module] = []
            for place, output in enumerate(widths):
                layers.append(downsample(width, output) if number and not place else submanifold(width, output))
                width = output
            self.levels.append(nn.Sequential(*layers))
        outputs = [widths[-1] for widths in channels]
        self.joins = nn.ModuleList(Join(width) for width in outputs)
        self.ups = nn.ModuleList(InverseConvNormReLU(b, a) for a, b in itertools.pairwise(outputs))
        self.out = submanifold(outputs[0], outputs[0])

    def forward(self, voxels: SparseTensor) -> SparseTensor:
        levels = [self.levels[0](self.stem(voxels))]
        for level in list(self.levels)[1:]:
            levels.append(level(levels[-1]))
        below = levels[-1].features
        for number in reversed(range(1, len(levels))):
            joined = self.joins[number](levels[number], below)
            below = self.ups[number - 1](joined, self.down(number), levels[number - 1]).features
        return self.out(self.joins[0](levels[0], below))

    def down(self, level: int) -> SparseConv:
        """The strided convolution that leads to a level."""
        first = next(self.levels[level].children())
        assert isinstance(first, ConvNormReLU)
        assert isinstance(first.conv, SparseConv)
        return first.conv
