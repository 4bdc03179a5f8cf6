"""The plain sparse encoder of SECOND, PV-RCNN and Voxel R-CNN: four stages of sparse convolution, eight times down."""

from __future__ import annotations

from torch import nn

from perception.sparse import ConvNormReLU, SparseConv, SparseTensor, SubmanifoldConv


def submanifold(inputs: int, outputs: int) -> ConvNormReLU:
    return ConvNormReLU(SubmanifoldConv(inputs, outputs, 3), outputs)


def downsample(inputs: int, outputs: int, padding: int | tuple[int, int, int] = 1) -> ConvNormReLU:
    return ConvNormReLU(SparseConv(inputs, outputs, 3, stride=2, padding=padding), outputs)


class FourStages(nn.Module):
    """A ``stem``, ``stage1`` to ``stage4`` at falling resolution, and ``out``, which merges pairs of layers in z."""

    stem: nn.Module
    stage1: nn.Module
    stage2: nn.Module
    stage3: nn.Module
    stage4: nn.Module
    out: nn.Module

    def stages(self, voxels: SparseTensor) -> list[SparseTensor]:
        """The outputs of stage 1 to 4, for heads that read several scales."""
        maps = [self.stage1(self.stem(voxels))]
        for stage in (self.stage2, self.stage3, self.stage4):
            maps.append(stage(maps[-1]))
        return maps

    def forward(self, voxels: SparseTensor) -> SparseTensor:
        return self.out(self.stages(voxels)[-1])


class SparseEncoder(FourStages):
    """Voxel features to 1/8 resolution (Yan et al. 2018; layer table of OpenPCDet's 8x voxel backbone).

    On a (41, 1600, 1408) grid the stages have (41, 1600, 1408), (21, 800, 704), (11, 400, 352) and (5, 200, 176)
    cells and 16, 32, 64, 64 channels; ``out`` merges pairs of layers in z to (2, 200, 176) with 128 channels.
    """

    def __init__(self, inputs: int, channels: int = 128) -> None:
        super().__init__()
        self.stem = submanifold(inputs, 16)
        self.stage1 = nn.Sequential(submanifold(16, 16))
        self.stage2 = nn.Sequential(downsample(16, 32), submanifold(32, 32), submanifold(32, 32))
        self.stage3 = nn.Sequential(downsample(32, 64), submanifold(64, 64), submanifold(64, 64))
        self.stage4 = nn.Sequential(downsample(64, 64, (0, 1, 1)), submanifold(64, 64), submanifold(64, 64))
        self.out = ConvNormReLU(SparseConv(64, channels, (3, 1, 1), stride=(2, 1, 1)), channels)


def encoded_depth(cells: int) -> int:
    """Cells along z that an encoder of four stages leaves of so many, its last layer included."""
    for padding in (1, 1, 0, 0):
        cells = (cells + 2 * padding - 3) // 2 + 1
    return cells
