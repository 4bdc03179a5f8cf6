"""Points to voxels: hard (capped, first come) as OpenPCDet and spconv do it, and dynamic (no caps).

Each has a plain form on any device and, on the CPU, a compiled one that passes over the points once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.points import PointBatch
from perception.sparse.sites import check_cells, coordinates_of, linear_keys
from perception.sparse.voxelise_kernels import fill_voxels, group_points, point_keys
from perception.threads import fair, run_shares


@dataclass(frozen=True)
class VoxelGrid:
    """``point_range`` x y z minimum, then maximum, metres; ``voxel_size`` x y z, metres."""

    point_range: tuple[float, float, float, float, float, float]
    voxel_size: tuple[float, float, float]

    def __post_init__(self) -> None:
        low, high = self.point_range[:3], self.point_range[3:]
        bad = any(not (math.isfinite(a) and math.isfinite(b) and b > a) for a, b in zip(low, high))
        if bad or min(self.voxel_size) <= 0:
            raise PerceptionError(
                f"a grid from {low} to {high} with voxels of {self.voxel_size}",
                "minimum below maximum and positive voxel sizes",
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Cells along z, y, x."""
        low, high = self.point_range[:3], self.point_range[3:]
        x, y, z = (round((b - a) / size) for a, b, size in zip(low, high, self.voxel_size))
        return max(z, 1), max(y, 1), max(x, 1)

    def cells(self, xyz: Tensor) -> tuple[Tensor, Tensor]:
        """Cell z y x of each point (N, 3) int64, and whether it lies in the grid (N,) bool; float32 arithmetic."""
        low = xyz.new_tensor(self.point_range[:3])
        cell = torch.floor((xyz - low) / xyz.new_tensor(self.voxel_size))
        limits = cell.new_tensor(self.shape[::-1])
        inside = ((cell >= 0) & (cell < limits)).all(1)
        return torch.where(inside[:, None], cell, 0).long().flip(1), inside


@dataclass(frozen=True, eq=False)
class HardVoxels:
    """``points`` (M, max_points, C) zero-padded, ``counts`` (M,), ``coordinates`` (M, 4) int32 batch z y x.

    ``clipped`` points were in range but beyond a cap on points a voxel or voxels a sample.
    """

    points: Tensor
    counts: Tensor
    coordinates: Tensor
    batch_size: int
    clipped: int = 0


@dataclass(frozen=True, eq=False)
class DynamicVoxels:
    """``points`` (N, C) in range, ``voxel`` (N,) row of each point's voxel, ``coordinates`` (M, 4) ascending."""

    points: Tensor
    voxel: Tensor
    coordinates: Tensor
    batch_size: int


def hard_voxelise(points: PointBatch, grid: VoxelGrid, max_points: int, max_voxels: int) -> HardVoxels:
    """Voxels in the order of their first point, each with its first ``max_points``, up to ``max_voxels`` a sample."""
    if not _compiled(points):
        return plain_hard_voxelise(points, grid, max_points, max_voxels)
    voxel, keys, start = _grouped(points, grid, max_voxels)
    values = points.values.numpy()
    padded = np.empty((len(keys), max_points, values.shape[1]), np.float32)
    counts, coordinates = np.zeros(len(keys), np.int64), np.empty((len(keys), 4), np.int32)
    low, size = _corner(grid)
    clipped = fill_voxels(values, points.sample.numpy(), voxel, start, low, size, padded, counts, coordinates)
    filled, number, cells = (torch.from_numpy(array) for array in (padded, counts, coordinates))
    return HardVoxels(filled, number, cells, points.batch_size, clipped)


def dynamic_voxelise(points: PointBatch, grid: VoxelGrid) -> DynamicVoxels:
    """All points in range, grouped by voxel; voxels in lexicographic order."""
    if not _compiled(points):
        return plain_dynamic_voxelise(points, grid)
    voxel, coordinates = voxel_of_points(points, grid)
    inside = voxel >= 0
    kept = points.values if inside.all() else points.values[inside]
    return DynamicVoxels(kept, voxel[inside], coordinates, points.batch_size)


def voxel_of_points(points: PointBatch, grid: VoxelGrid) -> tuple[Tensor, Tensor]:
    """Row of each point's voxel (N,) int64, -1 out of range, and the voxels' coordinates (M, 4), ascending.

    Samples may come in any order here.
    """
    if not _compiled(points):
        cell, inside = grid.cells(points.xyz)
        cells = torch.cat([points.sample[inside, None], cell[inside]], 1)
        occupied, voxel = linear_keys(cells, grid.shape, points.batch_size).unique(return_inverse=True)
        rows = torch.full_like(points.sample, -1)
        rows[inside] = voxel
        return rows, coordinates_of(occupied, grid.shape)
    arrival, keys, _ = _grouped(points, grid, len(points.values))
    order = np.argsort(keys)
    rank = np.empty(len(keys) + 1, np.int64)
    rank[order] = np.arange(len(keys))
    rank[-1] = -1
    return torch.from_numpy(rank[arrival]), coordinates_of(torch.from_numpy(keys[order]), grid.shape)


def plain_hard_voxelise(points: PointBatch, grid: VoxelGrid, max_points: int, max_voxels: int) -> HardVoxels:
    """``hard_voxelise`` by sorting, on any device."""
    cell, inside = grid.cells(points.xyz)
    values, sample, cell = points.values[inside], points.sample[inside], cell[inside]
    keys = linear_keys(torch.cat([sample[:, None], cell], 1), grid.shape, points.batch_size)
    ordered, arrival = keys.sort(stable=True)
    starts = _run_starts(ordered)
    run = torch.cumsum(starts, 0) - 1
    first = starts.nonzero()[:, 0]
    slot = torch.arange(len(ordered), device=ordered.device) - first[run]

    # Voxels take the place of their first point; the cap counts within each sample.
    arrival_rank = torch.empty_like(first)
    by_arrival = arrival[first].argsort()
    arrival_rank[by_arrival] = torch.arange(len(first), device=first.device)
    voxel_sample = sample[arrival[first]]
    before = torch.bincount(voxel_sample, minlength=points.batch_size).cumsum(0).roll(1)
    if len(before):
        before[0] = 0
    rank_in_sample = arrival_rank - before[voxel_sample]
    kept_voxel = rank_in_sample < max_voxels
    row = torch.cumsum(kept_voxel[by_arrival], 0)[arrival_rank] - 1

    kept = kept_voxel[run] & (slot < max_points)
    number = int(kept_voxel.sum())
    padded = values.new_zeros((number, max_points, values.shape[1]))
    padded[row[run[kept]], slot[kept]] = values[arrival[kept]]
    counts = torch.bincount(row[run[kept]], minlength=number)
    coordinates = coordinates_of(ordered[first[by_arrival]][kept_voxel[by_arrival]], grid.shape)
    return HardVoxels(padded, counts, coordinates, points.batch_size, int((~kept).sum()))


def plain_dynamic_voxelise(points: PointBatch, grid: VoxelGrid) -> DynamicVoxels:
    """``dynamic_voxelise`` by sorting, on any device."""
    cell, inside = grid.cells(points.xyz)
    keys = linear_keys(torch.cat([points.sample[inside, None], cell[inside]], 1), grid.shape, points.batch_size)
    occupied, voxel = keys.unique(return_inverse=True)
    return DynamicVoxels(points.values[inside], voxel, coordinates_of(occupied, grid.shape), points.batch_size)


def _compiled(points: PointBatch) -> bool:
    values = points.values
    return values.device.type == "cpu" and values.dtype == torch.float32 and not values.requires_grad


def _grouped(points: PointBatch, grid: VoxelGrid, max_voxels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    check_cells(grid.shape, points.batch_size)
    low, size = _corner(grid)
    cap = np.full(points.batch_size, max_voxels, np.int64)
    sample, keys = points.sample.numpy(), np.empty(len(points.values), np.int64)
    shares = fair(np.broadcast_to(1.0, len(keys)), 2**16)
    common = (points.values.numpy(), sample, low, size, grid.shape, keys)
    run_shares(point_keys, [(*common, *share) for share in shares])
    return group_points(keys, sample, cap)


def _corner(grid: VoxelGrid) -> tuple[Any, Any]:
    """The lowest corner and the size of a voxel, x y z, as the loops take them."""
    return tuple(np.float32(v) for v in grid.point_range[:3]), tuple(np.float32(v) for v in grid.voxel_size)


def _run_starts(ordered: Tensor) -> Tensor:
    """Whether each element of a sorted vector differs from the one before it."""
    starts = torch.ones_like(ordered, dtype=torch.bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    return starts
