"""PointPillars' feature net with several layers, as Waymo's pillar models have it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perception.backbones.voxel_encoders import voxel_centres
from perception.dense import Linear, linear_norm
from perception.sparse import BatchNorm, HardVoxels, VoxelGrid


class SlotLayer(nn.Module):
    """Linear, norm and ReLU in every slot of a pillar (M, P, C), then the maximum over its slots (M, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = Linear(inputs, outputs, bias=False)
        self.norm = BatchNorm(outputs, eps=1e-3, momentum=0.01)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        values = linear_norm(values, self.linear, self.norm)
        return values, values.max(1).values if len(values) else values.new_zeros((0, values.shape[-1]))


class StackedPillarEncoder(nn.Module):
    """(M, P, C) points in slots -> one vector of ``channels[-1]`` a pillar (Lang et al. 2019; OpenPCDet for Waymo).

    A point's inputs are its own values and its offsets from the mean and the centre of its pillar. Each layer but the
    last has half its channels for the point and half for the maximum of its pillar. Empty slots are zeros that still
    take part in every maximum, as in the published models.
    """

    def __init__(self, point_channels: int, channels: Sequence[int], grid: VoxelGrid) -> None:
        super().__init__()
        self.grid = grid
        inputs, widths = [point_channels + 6, *channels[:-1]], [*(width // 2 for width in channels[:-1]), channels[-1]]
        self.layers = nn.ModuleList(SlotLayer(a, b) for a, b in zip(inputs, widths))

    def forward(self, voxels: HardVoxels) -> Tensor:
        points, counts = voxels.points, voxels.counts
        mean = points[..., :3].sum(1) / counts.clamp(min=1)[:, None].to(points.dtype)
        centre = voxel_centres(voxels.coordinates, self.grid, points.dtype)
        filled = torch.arange(points.shape[1], device=points.device) < counts[:, None]
        values = torch.cat([points, points[..., :3] - mean[:, None], points[..., :3] - centre[:, None]], -1)
        values = values * filled[..., None]
        for layer in self.layers:
            values, highest = layer(values)
            values = torch.cat([values, highest[:, None].expand_as(values)], -1)
        return highest
