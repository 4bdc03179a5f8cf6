"""The second stage of Voxel R-CNN (Deng et al. 2021): voxels around a grid of points in each proposal."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from perception.heads.roi.grid import grid_points
from perception.heads.roi.proposals import Proposals, Refined
from perception.heads.roi.refine_head import RefineHead, RefineLayers
from perception.heads.roi.voxel_pool import PoolScale, VoxelPool
from perception.sparse import SparseTensor, VoxelGrid


class VoxelRoIHead(nn.Module):
    """``channels`` are those of the backbone's four stages; ``size`` grid points an axis in each proposal."""

    def __init__(
        self,
        channels: Sequence[int],
        scales: Sequence[PoolScale],
        size: int,
        grid: VoxelGrid,
        layers: RefineLayers,
    ) -> None:
        super().__init__()
        self.size, self.stages = size, tuple(scale.stage - 1 for scale in scales)
        self.pools = nn.ModuleList(VoxelPool(channels[scale.stage - 1], scale, grid) for scale in scales)
        pooled = size**3 * sum(scale.channels for scale in scales)
        self.refine = RefineHead(pooled, layers)

    def forward(self, stages: Sequence[SparseTensor], proposals: Proposals) -> Refined:
        points = grid_points(proposals.boxes, self.size).flatten(0, 1)
        sample = proposals.sample.repeat_interleave(self.size**3)
        pooled = [pool(stages[number], points, sample) for number, pool in zip(self.stages, self.pools)]
        scores, residuals = self.refine(torch.cat(pooled, 1).view(len(proposals), self.refine.inputs))
        return Refined(proposals, scores, residuals)
