"""Features of voxels with any number of points: point networks with a maximum over each voxel between them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perception.backbones.voxel_encoders import voxel_centres
from perception.dense import Linear, linear_norm
from perception.sparse import BatchNorm, DynamicVoxels, VoxelGrid
from perception.sparse.scatter import gather_rows, scatter_max, scatter_mean


class PointLayer(nn.Module):
    """Linear, norm and ReLU on every point, then the maximum of each voxel (Qi et al. 2017, PointNet)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = Linear(inputs, outputs, bias=False)
        self.norm = BatchNorm(outputs, eps=1e-3, momentum=0.01)

    def forward(self, values: Tensor, voxel: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Points (N, C) and their voxel's row (N,) -> points (N, outputs) and voxels (number, outputs)."""
        values = linear_norm(values, self.linear, self.norm)
        return values, scatter_max(values, voxel, number)


class DynamicVoxelEncoder(nn.Module):
    """OpenPCDet's dynamic voxel and pillar encoder: (N, C) points -> one vector of ``channels[-1]`` a voxel.

    A point's inputs are its own values and its offsets from the mean (3) and the centre (3) of its voxel; of a pillar
    the centre is at mid-height. Each layer but the last has half its channels for the point and half for the maximum
    of its voxel.
    """

    def __init__(self, point_channels: int, channels: Sequence[int], grid: VoxelGrid) -> None:
        super().__init__()
        self.grid = grid
        inputs, widths = [point_channels + 6, *channels[:-1]], [*(width // 2 for width in channels[:-1]), channels[-1]]
        self.layers = nn.ModuleList(PointLayer(a, b) for a, b in zip(inputs, widths))

    def forward(self, voxels: DynamicVoxels) -> Tensor:
        points, voxel, number = voxels.points, voxels.voxel, len(voxels.coordinates)
        xyz = points[:, :3]
        mean = scatter_mean(xyz, voxel, number)
        centre = voxel_centres(voxels.coordinates, self.grid, points.dtype)
        values = torch.cat([points, xyz - mean[voxel], xyz - centre[voxel]], 1)
        for layer in self.layers:
            values, highest = layer(values, voxel, number)
            if layer is not self.layers[-1]:
                values = torch.cat([values, gather_rows(highest, voxel)], 1)
        return highest
