"""The pillar encoder of VoxelNeXt's planar variants."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perception.backbones.dynamic_encoder import PointLayer
from perception.backbones.voxel_encoders import voxel_centres
from perception.sparse import DynamicVoxels, VoxelGrid


class PlacedPillarEncoder(nn.Module):
    """One point layer and a maximum: (N, C) points -> ``channels`` a pillar (OpenPCDet's simple dynamic 2D encoder).

    A point's inputs are its offset from the centre of its pillar (3), in z from the lowest cell of the grid, and its
    own values; there is no mean.
    """

    def __init__(self, point_channels: int, channels: int, grid: VoxelGrid) -> None:
        super().__init__()
        self.grid = grid
        self.layers = nn.ModuleList([PointLayer(point_channels + 3, channels)])

    def forward(self, voxels: DynamicVoxels) -> Tensor:
        points, voxel = voxels.points, voxels.voxel
        centre = voxel_centres(voxels.coordinates, self.grid, points.dtype)
        values = torch.cat([points[:, :3] - centre[voxel], points], 1)
        pillars: Tensor = self.layers[0](values, voxel, len(voxels.coordinates))[1]
        return pillars
