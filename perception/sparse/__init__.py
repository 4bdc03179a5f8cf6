"""Sparse tensors: sites, neighbour tables, convolution, pooling, grouping and voxelisation."""

from perception.sparse.attention_pool import AttentionPool
from perception.sparse.block import ConvNormReLU
from perception.sparse.conv import DepthwiseConv, InverseConv, SparseConv, SubmanifoldConv, TransposedConv
from perception.sparse.norm import BatchNorm
from perception.sparse.octree import Octree
from perception.sparse.pool import GlobalPool, MaxPool, MeanPool
from perception.sparse.sets import VoxelSets, dynamic_sets
from perception.sparse.sites import Sites
from perception.sparse.tensor import SparseTensor
from perception.sparse.voxelise import DynamicVoxels, HardVoxels, VoxelGrid, dynamic_voxelise, hard_voxelise
from perception.sparse.warmup import warmup
from perception.sparse.windows import Windows

__all__ = [
    "AttentionPool",
    "BatchNorm",
    "ConvNormReLU",
    "DepthwiseConv",
    "DynamicVoxels",
    "GlobalPool",
    "HardVoxels",
    "InverseConv",
    "MaxPool",
    "MeanPool",
    "Octree",
    "Sites",
    "SparseConv",
    "SparseTensor",
    "SubmanifoldConv",
    "TransposedConv",
    "VoxelGrid",
    "VoxelSets",
    "Windows",
    "dynamic_sets",
    "dynamic_voxelise",
    "hard_voxelise",
    "warmup",
]
