"""VoxelKP's fully sparse backbone (Shi et al., ICCV 2025): six stages to 1/32 that meet on the ground at 1/8."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from perception.backbones.selective import HybridStage, depths
from perception.backbones.sparse_resnet import ResidualBlock
from perception.errors import PerceptionError
from perception.sparse import ConvNormReLU, Sites, SparseConv, SparseTensor, SubmanifoldConv
from perception.sparse.scatter import scatter_sum
from perception.sparse.sites import coordinates_of, linear_keys
from perception.sparse.windows import Origin

CHANNELS, KERNELS = (32, 64, 128, 256, 256, 256), (5, 5, 3, 3, 3)
BLOCKS = (2, 2, 2, 2, 2, 2)


class SparseVoxelKP(nn.Module):
    """Residual blocks in stages 1 and 2, hybrid stages after, with attention in boxes of ``window`` cells in 5 and 6.

    ``depth`` is the input's number of cells along z, ``channels`` and ``blocks`` those of the stages, ``kernels`` of
    the strided convolutions between them. Output: (y, x) sites with ``outputs`` channels.
    """

    def __init__(
        self,
        inputs: int,
        depth: int,
        outputs: int = 384,
        channels: Sequence[int] = CHANNELS,
        kernels: Sequence[int] = KERNELS,
        blocks: Sequence[int] = BLOCKS,
        window: int = 6,
        heads: int = 4,
        origin: Origin = "lowest in batch",
    ) -> None:
        super().__init__()
        if (len(channels), len(kernels), len(blocks)) != (6, 5, 6):
            raise PerceptionError(
                f"{len(channels)} channels, {len(kernels)} kernels and {len(blocks)} blocks", "6, 5 and 6: six stages"
            )
        a, b, c, d, e, f = channels
        self.stem = ConvNormReLU(SubmanifoldConv(inputs, a, 3), a)
        self.stage1 = nn.Sequential(*(ResidualBlock(a) for _ in range(blocks[0])))
        self.stage2 = nn.Sequential(_halve(a, b, kernels[0]), *(ResidualBlock(b) for _ in range(blocks[1])))
        self.stage3 = nn.Sequential(_halve(b, c, kernels[1]), HybridStage(c, blocks[2]))
        self.stage4 = nn.Sequential(_halve(c, d, kernels[2]), HybridStage(d, blocks[3]))
        self.stage5 = nn.Sequential(_halve(d, e, kernels[3]), HybridStage(e, blocks[4], window, heads, origin))
        self.stage6 = nn.Sequential(_halve(e, f, kernels[4]), HybridStage(f, blocks[5], window, heads, origin))
        heights = depths(depth, kernels)[2:]
        self.grounds = nn.ModuleList(
            ConvNormReLU(SparseConv(channel, outputs, (height, 1, 1)), outputs)
            for channel, height in zip((d, e, f), heights)
        )
        self.out = ConvNormReLU(SparseConv(outputs, outputs, 3, padding=1, dimension=2), outputs)
        shared = SubmanifoldConv(outputs, outputs, 3, bias=True, dimension=2)
        self.shared = ConvNormReLU(shared, outputs, eps=1e-5, momentum=0.1)

    def forward(self, voxels: SparseTensor) -> SparseTensor:
        fourth = self.stage4(self.stage3(self.stage2(self.stage1(self.stem(voxels)))))
        fifth = self.stage5(fourth)
        levels = (fourth, fifth, self.stage6(fifth))
        ground = merge_centred([flatten(level) for flatten, level in zip(self.grounds, levels)])
        return self.shared(self.out(ground))


def _halve(inputs: int, outputs: int, kernel: int) -> ConvNormReLU:
    return ConvNormReLU(SparseConv(inputs, outputs, kernel, stride=2, padding=kernel // 2), outputs)


def merge_centred(levels: Sequence[SparseTensor]) -> SparseTensor:
    """Sum of (z = 1, y, x) levels, each twice as coarse as the one before, at the first level's (y, x).

    The spatial encoding as released: a cell of level l counts at the fine cell in its middle, 2^l c + l for the three
    levels, with the weight l + 1. Where the finest grid is odd, the last coarse cells count at its border.
    """
    sites = levels[0].sites
    shape = sites.spatial_shape[-2:]
    cells, features = [], []
    for level, tensor in enumerate(levels):
        planar = tensor.coordinates[:, [0, -2, -1]].long()
        planar[:, 1:] = (planar[:, 1:] * 2**level + level).minimum(planar.new_tensor(shape) - 1)
        cells.append(linear_keys(planar, shape, sites.batch_size))
        features.append(tensor.features * (level + 1))
    keys, group = torch.unique(torch.cat(cells), return_inverse=True)
    ground = Sites.of(coordinates_of(keys, shape), shape, sites.batch_size, sites.stride[-2:])
    return SparseTensor(scatter_sum(torch.cat(features), group, len(keys)), ground)
