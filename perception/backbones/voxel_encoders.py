"""From the points in each voxel to one feature vector a voxel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perception.dense import Linear, linear_norm
from perception.sparse import BatchNorm, DynamicVoxels, HardVoxels, VoxelGrid
from perception.sparse.scatter import scatter_max, scatter_mean


class MeanEncoder(nn.Module):
    """Mean of the points of a voxel: (M, P, C) -> (M, C). Yan et al. 2018 (SECOND) in OpenPCDet's form."""

    def forward(self, voxels: HardVoxels) -> Tensor:
        return voxels.points.sum(1) / voxels.counts.clamp(min=1)[:, None].to(voxels.points.dtype)


class PillarEncoder(nn.Module):
    """PointPillars' feature net (Lang et al. 2019, section 2.1): linear, norm, ReLU and maximum over the slots.

    Each point gets its offsets from the pillar's mean and from its centre. Empty slots are zeros that still take part
    in the maximum, as in the published models.
    """

    def __init__(self, point_channels: int, channels: int, grid: VoxelGrid) -> None:
        super().__init__()
        self.grid = grid
        self.linear = Linear(point_channels + 6, channels, bias=False)
        self.norm = BatchNorm(channels, eps=1e-3, momentum=0.01)

    def forward(self, voxels: HardVoxels) -> Tensor:
        points, counts = voxels.points, voxels.counts
        mean = points[..., :3].sum(1) / counts.clamp(min=1)[:, None].to(points.dtype)
        centre = voxel_centres(voxels.coordinates, self.grid, points.dtype)
        filled = torch.arange(points.shape[1], device=points.device) < counts[:, None]
        values = torch.cat([points, points[..., :3] - mean[:, None], points[..., :3] - centre[:, None]], -1)
        values = linear_norm(values * filled[..., None], self.linear, self.norm)
        return values.max(1).values if len(values) else values.new_zeros((0, values.shape[-1]))


class DynamicPillarEncoder(nn.Module):
    """A pillar encoder without caps and without the pillar's place: the same object looks the same anywhere.

    Inputs of a point: z and its further features, offset from the pillar's mean (3) and from its centre (2). Every
    point counts, no empty slot enters the maximum, and log(1 + points of the pillar), a hint at distance and
    occlusion, is the last of the output channels.
    """

    def __init__(self, point_channels: int, channels: int, grid: VoxelGrid) -> None:
        super().__init__()
        self.grid = grid
        self.linear = Linear(point_channels + 3, channels - 1, bias=False)
        self.norm = BatchNorm(channels - 1, eps=1e-3, momentum=0.01)

    def forward(self, voxels: DynamicVoxels) -> Tensor:
        xyz, voxel, number = voxels.points[:, :3], voxels.voxel, len(voxels.coordinates)
        offset = xyz - scatter_mean(xyz, voxel, number)[voxel]
        planar = xyz[:, :2] - voxel_centres(voxels.coordinates, self.grid, xyz.dtype)[voxel, :2]
        values = linear_norm(torch.cat([voxels.points[:, 2:], offset, planar], 1), self.linear, self.norm)
        pillars = scatter_max(values, voxel, number)
        count = torch.bincount(voxel, minlength=number).to(pillars.dtype)
        return torch.cat([pillars, count.log1p()[:, None]], 1)


class HeightSlices(nn.Module):
    """What lies at which height of a pillar, nothing learned (Yang, Luo & Urtasun, PIXOR, CVPR 2018, section 3.1).

    Of ``slices`` equal slices of the grid's height the answer says which hold a point (0 or 1); the last channel is
    log(1 + points of the pillar). Neither intensities nor places within a cell enter, in which lidars differ most.
    """

    def __init__(self, slices: int, grid: VoxelGrid) -> None:
        super().__init__()
        self.slices, self.low, self.height = slices, grid.point_range[2], grid.voxel_size[2] / slices

    def forward(self, voxels: DynamicVoxels) -> Tensor:
        number = len(voxels.coordinates)
        pillars = voxels.points.new_zeros((number, self.slices + 1))
        pillars[voxels.voxel, slice_of(voxels.points[:, 2], self.low, self.height, self.slices)] = 1
        count = torch.bincount(voxels.voxel, minlength=number).to(pillars.dtype)
        pillars[:, -1] = count.log1p()
        return pillars


def slice_of(z: Tensor, low: float, height: float, slices: int) -> Tensor:
    """Which slice of ``height`` metres, counted from ``low``, each z (N,) lies in."""
    return ((z - low) / height).floor().long().clamp(0, slices - 1)


def voxel_centres(coordinates: Tensor, grid: VoxelGrid, dtype: torch.dtype) -> Tensor:
    """Centre x y z of each voxel (M, 3), metres."""
    size = torch.tensor(grid.voxel_size, dtype=dtype, device=coordinates.device)
    low = torch.tensor(grid.point_range[:3], dtype=dtype, device=coordinates.device)
    return coordinates[:, [3, 2, 1]].to(dtype) * size + (size / 2 + low)
