"""The residual sparse encoder of CenterPoint, TransFusion-L and VoxelNeXt: two residual blocks a stage."""

from __future__ import annotations

import torch
from torch import nn

from perception.backbones.sparse_encoder import FourStages, downsample, submanifold
from perception.sparse import ConvNormReLU, SparseConv, SparseTensor, SubmanifoldConv


class ResidualBlock(nn.Module):
    """Two submanifold convolutions with normalisation, the input added before the last ReLU (He et al. 2016).

    ``bias``: the published CenterPoint has biases before its normalisations, TransFusion-L has none.
    """

    def __init__(self, channels: int, bias: bool = True, dimension: int = 3) -> None:
        super().__init__()
        first, second = (SubmanifoldConv(channels, channels, 3, bias=bias, dimension=dimension) for _ in range(2))
        self.first = ConvNormReLU(first, channels)
        self.second = ConvNormReLU(second, channels, rectify=False)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return self.second(self.first(x)).map(lambda features: torch.relu(features + x.features))


class SparseResNet(FourStages):
    """Voxel features to 1/8 resolution in four stages of 16, 32, 64 and 128 channels (Yin et al. 2021).

    The layer table is OpenPCDet's residual 8x voxel backbone; ``out`` merges pairs of layers in z.
    """

    def __init__(self, inputs: int, channels: int = 128, bias: bool = True) -> None:
        super().__init__()
        self.stem = submanifold(inputs, 16)
        self.stage1 = nn.Sequential(ResidualBlock(16, bias), ResidualBlock(16, bias))
        self.stage2 = nn.Sequential(downsample(16, 32), ResidualBlock(32, bias), ResidualBlock(32, bias))
        self.stage3 = nn.Sequential(downsample(32, 64), ResidualBlock(64, bias), ResidualBlock(64, bias))
        self.stage4 = nn.Sequential(downsample(64, 128, (0, 1, 1)), ResidualBlock(128, bias), ResidualBlock(128, bias))
        self.out = ConvNormReLU(SparseConv(128, channels, (3, 1, 1), stride=(2, 1, 1)), channels)
