"""The fully sparse backbone of VoxelNeXt (Chen et al., CVPR 2023): no dense map anywhere."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from perception.backbones.sparse_resnet import ResidualBlock
from perception.sparse import ConvNormReLU, Sites, SparseConv, SparseTensor, SubmanifoldConv
from perception.sparse.scatter import scatter_sum
from perception.sparse.sites import coordinates_of, linear_keys

CHANNELS, KERNELS, BLOCKS = (16, 32, 64, 128, 128, 128), (3, 3, 3, 3, 3), (2, 2, 2, 2, 2, 2)


class SparseVoxelNeXt(nn.Module):
    """Six stages of residual blocks to 1/32; the last three merge on the ground at 1/8 (section 3.1).

    ``channels`` and residual ``blocks`` of the stages, ``kernels`` of the strided convolutions between them. In two
    dimensions the input is pillars that have their ``channels[0]`` already. Output: (y, x) sites with ``outputs``
    channels, one cell wider around than what the stages reach.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int = 128,
        channels: Sequence[int] = CHANNELS,
        kernels: Sequence[int] = KERNELS,
        blocks: Sequence[int] = BLOCKS,
        dimension: int = 3,
    ) -> None:
        super().__init__()
        self.stem: nn.Module = nn.Identity()
        if dimension == 3:
            self.stem = ConvNormReLU(SubmanifoldConv(inputs, channels[0], 3), channels[0])
        widths = zip((channels[0], *channels), channels, (0, *kernels), blocks)
        stages = [_stage(a, b, kernel, count, dimension) for a, b, kernel, count in widths]
        self.stage1, self.stage2, self.stage3, self.stage4, self.stage5, self.stage6 = stages
        self.out = ConvNormReLU(SparseConv(channels[3], outputs, 3, padding=1, dimension=2), outputs)
        shared = SubmanifoldConv(outputs, outputs, 3, bias=True, dimension=2)
        self.shared = ConvNormReLU(shared, outputs, eps=1e-5, momentum=0.1)

    def forward(self, voxels: SparseTensor) -> SparseTensor:
        third = self.stage3(self.stage2(self.stage1(self.stem(voxels))))
        fourth = self.stage4(third)
        fifth = self.stage5(fourth)
        return self.shared(self.out(merge_on_ground((fourth, fifth, self.stage6(fifth)))))


def _stage(inputs: int, outputs: int, kernel: int, blocks: int, dimension: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    if kernel:
        down = SparseConv(inputs, outputs, kernel, stride=2, padding=kernel // 2, dimension=dimension)
        layers.append(ConvNormReLU(down, outputs))
    layers.extend(ResidualBlock(outputs, dimension=dimension) for _ in range(blocks))
    return nn.Sequential(*layers)


def merge_on_ground(levels: Sequence[SparseTensor]) -> SparseTensor:
    """Sum over height and over levels, each twice as coarse as the one before, at the first level's (y, x).

    A coarse cell counts at the first of the fine cells that it covers, as in the published model.
    """
    sites = levels[0].sites
    shape = sites.spatial_shape[-2:]
    cells = []
    for level, tensor in enumerate(levels):
        planar = tensor.coordinates[:, [0, -2, -1]].long()
        planar[:, 1:] *= 2**level
        cells.append(linear_keys(planar, shape, sites.batch_size))
    keys, group = torch.unique(torch.cat(cells), return_inverse=True)
    features = scatter_sum(torch.cat([tensor.features for tensor in levels]), group, len(keys))
    ground = Sites.of(coordinates_of(keys, shape), shape, sites.batch_size, sites.stride[-2:])
    return SparseTensor(features, ground)
