"""Voxel encoders as graphs: the library's own layers, their normalisations folded, on tensors alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from perception.backbones.dynamic_encoder import DynamicVoxelEncoder
from perception.backbones.stacked_pillars import StackedPillarEncoder
from perception.backbones.voxel_encoders import (
    DynamicPillarEncoder,
    HeightSlices,
    MeanEncoder,
    PillarEncoder,
    slice_of,
)
from perception.errors import PerceptionError
from perception.export.graphs.fold import folded_linear
from perception.export.graphs.groups import group_count, group_max, group_mean
from perception.sparse import VoxelGrid


class Encoder(nn.Module):
    """``points`` and ``owner`` and ``coordinates`` (M, 3) z y x to features (M, C).

    Of dynamic voxels ``points`` are (N, C) and ``owner`` (N,) is the voxel of each; of hard ones ``points`` are
    (M, P, C) and ``owner`` (M,) is how many slots of each are filled.
    """

    def forward(self, points: Tensor, owner: Tensor, coordinates: Tensor) -> Tensor:
        raise NotImplementedError


class Mean(Encoder):
    def forward(self, points: Tensor, owner: Tensor, coordinates: Tensor) -> Tensor:
        return points.sum(1) / owner.clamp(min=1)[:, None].float()


class DynamicPillars(Encoder):
    """``DynamicPillarEncoder``."""

    def __init__(self, source: DynamicPillarEncoder) -> None:
        super().__init__()
        self.centre, self.linear = Centre(source.grid), folded_linear(source.linear, source.norm)

    def forward(self, points: Tensor, owner: Tensor, coordinates: Tensor) -> Tensor:
        xyz, count = points[:, :3], group_count(owner, coordinates)
        offset = xyz - group_mean(xyz, owner, count).index_select(0, owner)
        planar = (xyz - self.centre(coordinates).index_select(0, owner))[:, :2]
        values = self.linear(torch.cat([points[:, 2:], offset, planar], 1)).relu()
        return torch.cat([group_max(values, owner, coordinates), torch.log(count + 1)], 1)


class SlicesGraph(Encoder):
    """``HeightSlices``."""

    def __init__(self, source: HeightSlices) -> None:
        super().__init__()
        self.low, self.height, self.slices = source.low, source.height, source.slices

    def forward(self, points: Tensor, owner: Tensor, coordinates: Tensor) -> Tensor:
        held = slice_of(points[:, 2], self.low, self.height, self.slices)[:, None] == torch.arange(self.slices)
        count = group_count(owner, coordinates)
        return torch.cat([group_max(held.float(), owner, coordinates), torch.log(count + 1)], 1)


class DynamicVoxelsGraph(Encoder):
    """``DynamicVoxelEncoder``."""

    def __init__(self, source: DynamicVoxelEncoder) -> None:
        super().__init__()
        layers: Any = source.layers
        self.centre = Centre(source.grid)
        self.layers = nn.ModuleList(folded_linear(layer.linear, layer.norm) for layer in layers)

    def forward(self, points: Tensor, owner: Tensor, coordinates: Tensor) -> Tensor:
        xyz = points[:, :3]
        mean = group_mean(xyz, owner, group_count(owner, coordinates))
        values = [points, xyz - mean.index_select(0, owner), xyz - self.centre(coordinates).index_select(0, owner)]
        highest = points
        for layer in self.layers:
            values = [layer(torch.cat(values, 1)).relu()]
            highest = group_max(values[0], owner, coordinates)
            values.append(highest.index_select(0, owner))
        return highest


class Slots(Encoder):
    """``PillarEncoder`` and ``StackedPillarEncoder``: layers in every slot, each with the maximum over the slots."""

    def __init__(self, source: PillarEncoder | StackedPillarEncoder) -> None:
        super().__init__()
        layers: Any = [source] if isinstance(source, PillarEncoder) else source.layers
        self.centre = Centre(source.grid)
        self.layers = nn.ModuleList(folded_linear(layer.linear, layer.norm) for layer in layers)

    def forward(self, points: Tensor, owner: Tensor, coordinates: Tensor) -> Tensor:
        xyz, filled = points[..., :3], torch.arange(points.shape[1]) < owner[:, None]
        mean = xyz.sum(1) / owner.clamp(min=1)[:, None].float()
        values = torch.cat([points, xyz - mean[:, None], xyz - self.centre(coordinates)[:, None]], -1)
        values, highest = values * filled[..., None].float(), points[:, 0]
        for layer in self.layers:
            values = layer(values).relu()
            highest = values.amax(1)
            values = torch.cat([values, highest[:, None].expand_as(values)], -1)
        return highest


class Centre(nn.Module):
    """Centre x y z (M, 3), metres, of the cells z y x (M, 3)."""

    size: Tensor
    low: Tensor

    def __init__(self, grid: VoxelGrid) -> None:
        super().__init__()
        self.register_buffer("size", torch.tensor(grid.voxel_size))
        self.register_buffer("low", self.size / 2 + torch.tensor(grid.point_range[:3]))

    def forward(self, coordinates: Tensor) -> Tensor:
        return coordinates.flip(1).float() * self.size + self.low


def encoder_graph(source: nn.Module) -> Encoder:
    if isinstance(source, MeanEncoder):
        return Mean()
    if isinstance(source, DynamicPillarEncoder):
        return DynamicPillars(source)
    if isinstance(source, HeightSlices):
        return SlicesGraph(source)
    if isinstance(source, DynamicVoxelEncoder):
        return DynamicVoxelsGraph(source)
    if isinstance(source, (PillarEncoder, StackedPillarEncoder)):
        return Slots(source)
    raise PerceptionError(f"encoder: a {type(source).__name__}", "a voxel encoder that exports know")
