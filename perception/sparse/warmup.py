"""Compilation ahead of the first cloud: a robot must not wait for it, nor a benchmark count it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from perception.points import PointBatch
from perception.sparse.block import ConvNormReLU
from perception.sparse.conv import DepthwiseConv, InverseConv, SparseConv, SubmanifoldConv
from perception.sparse.growth import by_threshold, grow, spread_table
from perception.sparse.tensor import SparseTensor
from perception.sparse.voxelise import VoxelGrid, dynamic_voxelise, hard_voxelise


def warmup(
    device: torch.device | str = "cpu", training: bool = False, channels: Sequence[int] = (4, 16, 32, 64)
) -> float:
    """Run every sparse operation once on a few voxels, gradients too if ``training``; the seconds that it took.

    ``channels`` are the widths that will be used: engines may have code of its own for each.
    """
    start = time.perf_counter()
    grid = VoxelGrid((0.0, 0.0, 0.0, 8.0, 8.0, 8.0), (0.5, 0.5, 0.5))
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(200, 4, generator=generator) * 8
    points = PointBatch(values, torch.zeros(200, dtype=torch.int64), 1).to(device)
    hard_voxelise(points, grid, 5, 100)
    cells = dynamic_voxelise(points, grid).coordinates
    for inputs, outputs in zip(channels, [*channels[1:], channels[-1]]):
        down, up = SparseConv(inputs, outputs, 3, 2, 1), InverseConv(outputs, inputs, 3)
        coarse = SparseConv(inputs, outputs, 3, 2, dialect="minkowski")
        block, depthwise = ConvNormReLU(SubmanifoldConv(inputs, inputs, 3), inputs), DepthwiseConv(inputs, 3)
        for layer in (down, up, coarse, block, depthwise):
            layer.to(device).train(training)
        with torch.set_grad_enabled(training):
            features = torch.rand(len(cells), inputs, generator=generator).to(device)
            x = SparseTensor.of(features, cells, grid.shape, 1)
            raised = up(down(block(x)), down, x.sites)
            total = depthwise(raised).features.sum() + coarse(x).features.sum()
            importance = torch.rand(len(x), 27, device=x.features.device)
            spread_table(grow(x.sites, by_threshold(importance[:, -1], 0.5), importance[:, :-1], 3, 0.5), 3)
            if training:
                total.backward()
    return time.perf_counter() - start
