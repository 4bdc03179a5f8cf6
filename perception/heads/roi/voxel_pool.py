"""Voxel RoI pooling (Deng et al. 2021, Voxel R-CNN, section 3.3): features of the voxels around each grid point."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perception.config import config
from perception.dense import Linear
from perception.heads.roi.neighbours import Neighbours
from perception.heads.roi.pool_kernels import first_largest
from perception.heads.roi.voxel_query import voxel_query
from perception.sparse import BatchNorm, SparseTensor, VoxelGrid


@config
class PoolScale:
    """Pooling from stage 1, 2, 3 or 4 of the backbone: voxels within ``reach`` cells and ``radius`` metres."""

    stage: int
    radius: float
    reach: int = 4
    neighbours: int = 16
    channels: int = 32


class VoxelPool(nn.Module):
    """For each point the maximum over its voxels of ReLU(inner(feature) + position(voxel - point)), then ``outer``.

    Both inner maps are linear with batch normalisation. Written out, the part that depends on the voxel and the part
    that depends on the point are a difference, so that the maximum needs no feature of any pair:
    max(ReLU(voxel - point)) = ReLU(max(voxel) - point). The published accelerated PointNet module is the same function.
    """

    def __init__(self, inputs: int, scale: PoolScale, grid: VoxelGrid) -> None:
        super().__init__()
        self.scale, self.grid = scale, grid
        width = scale.channels
        self.inner, self.inner_norm = Linear(inputs, width, bias=False), BatchNorm(width)
        self.position, self.position_norm = Linear(3, width, bias=False), OffsetNorm(width)
        self.outer, self.outer_norm = Linear(width, width, bias=False), BatchNorm(width)
        for layer in (self.inner, self.position, self.outer):
            nn.init.kaiming_normal_(layer.weight)

    def forward(self, stage: SparseTensor, points: Tensor, sample: Tensor) -> Tensor:
        """Features (Q, channels) at points (Q, 3) of the samples (Q,)."""
        centres = voxel_centres(stage, self.grid)
        cells = self._cells(stage, points, sample)
        scale = self.scale
        near = voxel_query(stage.sites, centres, points, cells, scale.reach, scale.radius, scale.neighbours)
        features = self.inner_norm(self.inner(stage.features))
        # Offsets are differences of large coordinates: half precision would lose them.
        with torch.autocast(points.device.type, enabled=False):
            return self._pooled(features.float(), centres, points, near)

    def _pooled(self, features: Tensor, centres: Tensor, points: Tensor, near: Neighbours) -> Tensor:
        weight, shift = self.position_norm(self.position.weight, centres, points, near)
        voxels = features + centres @ weight.T + shift
        largest = first_largest(voxels, near)
        pooled = torch.where(near.counts[:, None] > 0, largest - points @ weight.T, shift).relu()
        return self.outer_norm(self.outer(pooled)).relu()

    def _cells(self, stage: SparseTensor, points: Tensor, sample: Tensor) -> Tensor:
        """Batch z y x of the cell that each point lies in, on the grid of the stage."""
        low = points.new_tensor(self.grid.point_range[:3])
        size = points.new_tensor(self.grid.voxel_size)
        fine = torch.div(points - low, size, rounding_mode="floor").long().flip(1)
        coarse = torch.div(fine, fine.new_tensor(_downsampling(stage)), rounding_mode="floor")
        return torch.cat([sample[:, None], coarse], 1)


class OffsetNorm(BatchNorm):
    """Batch normalisation of a linear map of offsets, folded into the map.

    Mean and variance over all pairs of a point and a slot follow from those of the offsets: the mean of W d is
    W mean(d), its variance the diagonal of W cov(d) W^T. Slots beyond the last neighbour repeat the first, and those of
    a point without neighbours hold the offset zero, as in the published models, whose running statistics count them.
    """

    def forward(  # type: ignore[override]
        self, weight: Tensor, centres: Tensor, points: Tensor, near: Neighbours
    ) -> tuple[Tensor, Tensor]:
        """The map (channels, 3) and the shift (channels,) that together normalise ``weight`` (channels, 3)."""
        slots = near.rows.numel()
        if not self.training or slots < 2 or not len(centres):
            scale, shift = self.folded()
            return weight * scale[:, None], shift
        filled = near.counts[:, None, None] > 0
        offsets = torch.where(filled, centres[near.rows] - points[:, None], 0.0).flatten(0, 1)
        middle = offsets.mean(0)
        spread = (offsets - middle).T @ (offsets - middle) / slots
        mean, variance = weight @ middle, ((weight @ spread) * weight).sum(1)
        self._remember(mean.detach(), variance.detach() * (slots / (slots - 1)))
        scale = self.weight * (variance + self.eps).rsqrt()
        return weight * scale[:, None], self.bias - mean * scale

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)


def voxel_centres(stage: SparseTensor, grid: VoxelGrid) -> Tensor:
    """Centre x y z (N, 3) in metres of each cell of a stage of the backbone."""
    size = torch.tensor(grid.voxel_size, device=stage.features.device) * torch.tensor(
        _downsampling(stage)[::-1], device=stage.features.device
    )
    low = torch.tensor(grid.point_range[:3], device=stage.features.device)
    return (stage.coordinates[:, [3, 2, 1]].float() + 0.5) * size + low


def _downsampling(stage: SparseTensor) -> tuple[int, ...]:
    """Cells of the finest grid to one of the stage's, z y x."""
    return stage.sites.stride
