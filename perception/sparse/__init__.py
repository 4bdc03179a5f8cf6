"""Sparse tensors: sites, neighbour tables, convolution and voxelisation."""

from perception.sparse.block import ConvNormReLU
from perception.sparse.conv import DepthwiseConv, InverseConv, SparseConv, SubmanifoldConv, TransposedConv
from perception.sparse.norm import BatchNorm
from perception.sparse.sites import Sites
from perception.sparse.tensor import SparseTensor
from perception.sparse.voxelise import DynamicVoxels, HardVoxels, VoxelGrid, dynamic_voxelise, hard_voxelise

__all__ = [
    "BatchNorm",
    "ConvNormReLU",
    "DepthwiseConv",
    "DynamicVoxels",
    "HardVoxels",
    "InverseConv",
    "Sites",
    "SparseConv",
    "SparseTensor",
    "SubmanifoldConv",
    "TransposedConv",
    "VoxelGrid",
    "dynamic_voxelise",
    "hard_voxelise",
]
