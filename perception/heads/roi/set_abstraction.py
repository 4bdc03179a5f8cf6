"""Voxel set abstraction (Shi et al. 2020, PV-RCNN, section 3.2): a scene's features gathered on a few keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from perception.config import config
from perception.dense import Layers, Linear
from perception.heads.roi.aggregation import Aggregation, Ball
from perception.heads.roi.farthest_points import farthest_points
from perception.heads.roi.voxel_pool import voxel_centres
from perception.points import PointBatch
from perception.sparse import BatchNorm, SparseTensor, VoxelGrid
from perception.sparse.scatter import gather_rows


@config
class StageBalls:
    """The balls in which voxels of stage 1, 2, 3 or 4 of the backbone are gathered."""

    stage: int
    balls: tuple[Ball, Ball]


@dataclass(frozen=True, eq=False)
class Keypoints:
    """``places`` (M, 3), their ``features`` (M, C), and these before the last layer: ``gathered`` (M, D)."""

    places: PointBatch
    features: Tensor
    gathered: Tensor


class SetAbstraction(nn.Module):
    """Keypoints by farthest point sampling; features of the map, of raw points and of voxels around each."""

    def __init__(
        self,
        keypoints: int,
        point_features: int,
        raw: Sequence[Ball],
        stages: Sequence[StageBalls],
        stage_channels: Sequence[int],
        map_channels: int,
        grid: VoxelGrid,
        width: int = 128,
    ) -> None:
        super().__init__()
        self.keypoints, self.grid, self.numbers = keypoints, grid, tuple(part.stage for part in stages)
        self.raw = Aggregation(point_features, raw)
        self.stages = nn.ModuleList(Aggregation(stage_channels[part.stage - 1], part.balls) for part in stages)
        voxels = sum(ball.widths[1] for part in stages for ball in part.balls)
        self.gathered = map_channels + self.raw.channels + voxels
        self.channels = width
        self.fusion = Layers(Linear(self.gathered, width, bias=False), BatchNorm(width), nn.ReLU())

    def forward(
        self,
        points: PointBatch,
        stages: Sequence[SparseTensor],
        flat: Tensor,
        orders: Sequence[Tensor] | None = None,
    ) -> Keypoints:
        """``points`` raw, inside the range in x and y; the four ``stages``; the flattened map ``flat`` (B, C, H, W).

        ``orders`` are the rows of each stage in the order in which balls take them, if not as they are.
        """
        chosen = farthest_points(points, self.keypoints)
        places = PointBatch(points.xyz[chosen], points.sample[chosen], points.batch_size)
        parts = [sample_map(flat, places, self.grid), self.raw(points, places)]
        for number, gather in zip(self.numbers, self.stages):
            voxels = as_points(stages[number - 1], self.grid, None if orders is None else orders[number - 1])
            parts.append(gather(voxels, places))
        gathered = torch.cat(parts, 1)
        return Keypoints(places, self.fusion(gathered), gathered)


def as_points(stage: SparseTensor, grid: VoxelGrid, order: Tensor | None = None) -> PointBatch:
    """Voxels as points at their centres, their rows in the given ``order``."""
    values, sample = torch.cat([voxel_centres(stage, grid), stage.features.float()], 1), stage.coordinates[:, 0].long()
    if order is not None:
        values, sample = gather_rows(values, order), sample[order]
    return PointBatch(values, sample, stage.sites.batch_size)


def sample_map(flat: Tensor, places: PointBatch, grid: VoxelGrid) -> Tensor:
    """Features (M, C) of a map (B, C, H, W) at each place, bilinear between cells.

    Cell i stands for the place i, not i + 1/2, and beyond the last one everything is zero: so the published models have
    it, and their weights are fitted to it.
    """
    channels, height, width = flat.shape[1:]
    cells = places.xyz[:, :2].new_tensor([grid.shape[2] / width, grid.shape[1] / height])
    size, low = places.xyz.new_tensor(grid.voxel_size[:2]), places.xyz.new_tensor(grid.point_range[:2])
    where = (places.xyz[:, :2] - low) / size / cells.round()
    limits = torch.tensor([width - 1, height - 1], device=flat.device)
    lower = where.floor().long()
    first, last = lower.clamp(min=0).minimum(limits), (lower + 1).clamp(min=0).minimum(limits)
    rows = flat.permute(0, 2, 3, 1).reshape(-1, channels)
    total: Tensor | float = 0.0
    for x, share_x in ((first[:, 0], last[:, 0] - where[:, 0]), (last[:, 0], where[:, 0] - first[:, 0])):
        for y, share_y in ((first[:, 1], last[:, 1] - where[:, 1]), (last[:, 1], where[:, 1] - first[:, 1])):
            corner = gather_rows(rows, (places.sample * height + y) * width + x)
            total = total + corner * (share_x * share_y)[:, None]
    assert isinstance(total, Tensor)
    return total
