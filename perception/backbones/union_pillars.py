"""Two scans on one set of voxels, and the encoders of scene flow on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from perception.backbones.voxel_encoders import voxel_centres
from perception.dense import Linear
from perception.points import PointBatch
from perception.scan_pair import PairBatch
from perception.sparse import BatchNorm, VoxelGrid
from perception.sparse.scatter import gather_rows, scatter_max, scatter_mean
from perception.sparse.voxelise import voxel_of_points

POINT_FEATURES = 9


@dataclass(frozen=True, eq=False)
class ScanVoxels:
    """The points (N, 3) of one scan that are in range.

    ``voxel`` (N,) is the row of each one's voxel, ``rows`` (N,) its row in the scan's ``PointBatch``, ``offset``
    (N, 3) its way from the voxel's centre, metres.
    """

    points: Tensor
    voxel: Tensor
    rows: Tensor
    offset: Tensor


@dataclass(frozen=True, eq=False)
class UnionVoxels:
    """Voxels that at least one of two scans occupies: ``coordinates`` (M, 4) int32 batch z y x, ascending."""

    coordinates: Tensor
    first: ScanVoxels
    second: ScanVoxels
    pairs: PairBatch

    @property
    def batch_size(self) -> int:
        return self.pairs.batch_size


def union_voxelise(pairs: PairBatch, grid: VoxelGrid) -> UnionVoxels:
    """Group the points of both scans by the same voxels (Khoche et al. 2025, SSF, section III)."""
    scans = (pairs.first, pairs.second)
    values, sample = torch.cat([scan.xyz for scan in scans]), torch.cat([scan.sample for scan in scans])
    voxel, coordinates = voxel_of_points(PointBatch(values, sample, pairs.batch_size), grid)
    centres = voxel_centres(coordinates, grid, values.dtype)
    parts = voxel.split([len(scan.values) for scan in scans])
    first, second = (_in_range(scan.xyz, rows, centres) for scan, rows in zip(scans, parts))
    return UnionVoxels(coordinates, first, second, pairs)


def _in_range(xyz: Tensor, voxel: Tensor, centres: Tensor) -> ScanVoxels:
    rows = (voxel >= 0).nonzero()[:, 0]
    points, voxel = xyz.index_select(0, rows), voxel.index_select(0, rows)
    return ScanVoxels(points, voxel, rows, points - centres.index_select(0, voxel))


def point_features(scan: ScanVoxels, voxels: int) -> Tensor:
    """x y z, way from the mean of the scan's points in the voxel, and from the voxel's centre: (N, 9)."""
    mean = scatter_mean(scan.points, scan.voxel, voxels)
    return torch.cat([scan.points, scan.points - mean.index_select(0, scan.voxel), scan.offset], 1)


class PointLayer(nn.Module):
    """Linear without bias, batch normalisation, ReLU; one pass in use without gradients."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = Linear(inputs, outputs, bias=False)
        self.norm = BatchNorm(outputs, eps=1e-3, momentum=0.01)

    def forward(self, values: Tensor) -> Tensor:
        if self.training or torch.is_grad_enabled():
            return self.norm(self.linear(values)).relu()
        weight, shift = self.folded()
        return torch.addmm(shift, values, weight.t()).relu_()

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight (C, inputs) and shift (C,) that do what linear layer and normalisation do in use."""
        scale, shift = self.norm.folded()
        return self.linear.weight * scale[:, None], shift


class UnionEncoder(nn.Module):
    """SSF's encoder: each scan by itself to features of all voxels of the union (M, 2 * channels), first scan first.

    A voxel in which a scan has no points gets zeros. As published, in training one made-up point at its centre goes
    through the layers before that, so that it takes part in the statistics of the normalisation; in use it changes
    nothing and is left out.
    """

    def __init__(self, grid: VoxelGrid, channels: int = 32) -> None:
        super().__init__()
        self.grid = grid
        self.layers = nn.ModuleList([PointLayer(POINT_FEATURES, channels), PointLayer(2 * channels, channels)])

    def forward(self, voxels: UnionVoxels) -> Tensor:
        return torch.cat([self.scan(scan, voxels.coordinates) for scan in (voxels.first, voxels.second)], 1)

    def scan(self, scan: ScanVoxels, coordinates: Tensor) -> Tensor:
        """Features (M, channels) of one scan."""
        number = len(coordinates)
        values, voxel = point_features(scan, number), scan.voxel
        empty = torch.ones(number, dtype=torch.bool, device=voxel.device).index_fill(0, voxel, False)
        if self.training:
            missing = empty.nonzero()[:, 0]
            centres = voxel_centres(coordinates.index_select(0, missing), self.grid, values.dtype)
            made_up = torch.cat([centres, torch.zeros_like(centres), torch.zeros_like(centres)], 1)
            values, voxel = torch.cat([made_up, values]), torch.cat([missing, voxel])
        first, second = self.layers
        assert isinstance(second, PointLayer)
        points = first(values)
        together = scatter_max(points, voxel, number)
        if self.training or torch.is_grad_enabled():
            features = scatter_max(second(torch.cat([points, gather_rows(together, voxel)], 1)), voxel, number)
            return features.masked_fill(empty[:, None], 0.0)
        # What the layer adds for the voxel as a whole is the same for all its points, so the maximum comes before it.
        weight, shift = second.folded()
        of_points, of_voxels = weight.split([points.shape[1], together.shape[1]], 1)
        highest = scatter_max(points @ of_points.t(), voxel, number)
        features = torch.addmm(shift, together, of_voxels.t()).add_(highest).relu_()
        return features.masked_fill_(empty[:, None], 0.0)


class MeanPillarEncoder(nn.Module):
    """The dynamic pillars of FastFlow3D and DeFlow: one layer and the mean of a scan's points: (M, channels)."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.layer = PointLayer(POINT_FEATURES, channels)

    def forward(self, scan: ScanVoxels, voxels: int) -> Tensor:
        return scatter_mean(self.layer(point_features(scan, voxels)), scan.voxel, voxels)
