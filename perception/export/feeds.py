"""From the points of one cloud to the tensors that the first graph takes, by the manifest's rules alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from perception.export.manifest import Manifest, SetRule, TableRule
from perception.points import PointBatch
from perception.sparse import HardVoxels, Sites, VoxelGrid, dynamic_sets, dynamic_voxelise, hard_voxelise
from perception.sparse.neighbours import strided_table, submanifold_table
from perception.sparse.sites import lexicographic_order
from perception.sparse.table import NeighbourTable

# Graphs are traced for any number of rows from two on: shorter inputs are filled up with rows that lie nowhere.
FEWEST = 2


@dataclass(frozen=True)
class Dropped:
    """What limits and caps cost a cloud: points and voxels that were there, in range, and those left out."""

    points: int = 0
    points_left_out: int = 0
    voxels: int = 0
    voxels_left_out: int = 0
    clipped: int = 0

    def __bool__(self) -> bool:
        return bool(self.points_left_out or self.voxels_left_out)


@dataclass(frozen=True, eq=False)
class Feed:
    """``arrays`` by the names of inputs; ``sites`` by level, for growth between segments."""

    arrays: dict[str, Tensor]
    sites: dict[str, Sites]
    dropped: Dropped


@torch.inference_mode()
def feed_of(points: PointBatch, manifest: Manifest) -> Feed:
    """The inputs of one cloud (a batch of one)."""
    rule = manifest.voxels
    grid = VoxelGrid(rule.point_range, rule.voxel_size)
    kept, dropped_points, inside = _limited(points, grid, manifest.limits.points)
    if rule.kind == "dynamic":
        arrays, coordinates, lost = _dynamic(kept, grid, manifest.limits.voxels)
        clipped = 0
    else:
        arrays, coordinates, lost, clipped = _hard(kept, grid, manifest)
    number = len(coordinates)
    dropped = Dropped(inside, dropped_points, number + lost, lost, clipped)
    sites = Sites.of(coordinates, rule.shape, 1)
    levels = {"rows0": sites}
    arrays["coordinates"] = _filled_coordinates(coordinates[:, 1:].long(), rule.shape)
    for table in manifest.tables:
        if table.source in levels:
            arrays[table.name] = table_rows(table, levels)
    for sets in manifest.sets:
        arrays |= set_arrays(sites, sets)
    if manifest.tables and not manifest.focals:
        last = manifest.tables[-1].target
        arrays["cells"] = flat_cells(levels[last])
    return Feed(arrays, levels, dropped)


def table_rows(rule: TableRule, levels: dict[str, Sites]) -> Tensor:
    """The table (M, K) int32 of a rule; new sites that it leads to are added to ``levels``."""
    source = levels[rule.source]
    if rule.kind == "submanifold":
        table = submanifold_table(source, rule.kernel, rule.dilation)
    else:
        table = strided_table(source, rule.kernel, rule.stride, rule.padding, rule.dilation)
        levels[rule.target] = table.leads_to(source)
    return as_input(table)


def as_input(table: NeighbourTable) -> Tensor:
    """Rows (M, K) int32 of a table; taps without an input read the row past the last."""
    nowhere = max(table.inputs, FEWEST)
    rows = torch.where(table.rows < 0, nowhere, table.rows).t()
    return torch.nn.functional.pad(rows, (0, 0, 0, max(FEWEST - len(rows), 0)), value=nowhere).contiguous()


def flat_cells(sites: Sites) -> Tensor:
    """Cell (z * Y + y) * X + x of each row (M,) int64, past the last cell for filling rows."""
    _, height, width = sites.spatial_shape
    z, y, x = sites.coordinates[:, 1:].long().unbind(1)
    flat = (z * height + y) * width + x
    return torch.nn.functional.pad(flat, (0, max(FEWEST - len(flat), 0)), value=math.prod(sites.spatial_shape))


def set_arrays(sites: Sites, rule: SetRule) -> Mapping[str, Tensor]:
    """The sets of one partition; filling rows share a set of their own."""
    sets = dynamic_sets(sites, rule.window, rule.shift, rule.size)
    short = max(FEWEST - len(sites), 0)
    spare = max(FEWEST - sets.rows.shape[1], int(short > 0))
    slots = sets.rows.shape[1] * rule.size
    rows = torch.nn.functional.pad(sets.rows, (0, 0, 0, spare), value=max(len(sites) + short - 1, 0))
    repeated = torch.nn.functional.pad(sets.repeated, (0, 0, 0, spare), value=True)
    if spare:
        repeated[:, -spare:, 0] = False
    place = linear(sets.windows.cell, rule.window)
    return {
        f"rows{rule.name}": rows.int(),
        f"repeated{rule.name}": repeated,
        f"slot{rule.name}": torch.nn.functional.pad(sets.slot, (0, short), value=slots).int(),
        f"cell{rule.name}": torch.nn.functional.pad(place, (0, short)).int(),
    }


def linear(cell: Tensor, size: tuple[int, ...]) -> Tensor:
    z, y, x = cell.unbind(1)
    return (z * size[1] + y) * size[2] + x


def _limited(points: PointBatch, grid: VoxelGrid, limit: int) -> tuple[PointBatch, int, int]:
    """The first ``limit`` points in range, how many were left out, and how many there were."""
    if len(points.values) <= limit:
        return points, 0, len(points.values)
    inside = grid.cells(points.xyz)[1].nonzero()[:, 0]
    rows = inside[:limit]
    return PointBatch(points.values[rows], points.sample[rows], 1), len(inside) - len(rows), len(inside)


def _dynamic(points: PointBatch, grid: VoxelGrid, limit: int) -> tuple[dict[str, Tensor], Tensor, int]:
    """All points by voxel; of too many voxels those with the most points stay, equal ones in their order."""
    voxels = dynamic_voxelise(points, grid)
    values, owner, coordinates = voxels.points, voxels.voxel, voxels.coordinates
    lost = max(len(coordinates) - limit, 0)
    if lost:
        count = owner.bincount(minlength=len(coordinates))
        stays = count.argsort(descending=True, stable=True)[:limit].sort().values
        row = torch.full((len(coordinates),), -1).index_put((stays,), torch.arange(limit))
        kept = row[owner] >= 0
        values, owner, coordinates = values[kept], row[owner[kept]], coordinates[stays]
    short = max(FEWEST - len(values), 0)
    last = max(len(coordinates), FEWEST) - 1
    values = torch.nn.functional.pad(values, (0, 0, 0, short))
    owner = torch.nn.functional.pad(owner, (0, short), value=last)
    return {"points": values, "owner": owner}, coordinates, lost


def _hard(points: PointBatch, grid: VoxelGrid, manifest: Manifest) -> tuple[dict[str, Tensor], Tensor, int, int]:
    """Voxels in the order of z, y, x; of too many the first ones stay."""
    rule, limit = manifest.voxels, manifest.limits.voxels
    voxels = hard_voxelise(points, grid, rule.max_points, rule.max_voxels)
    lost = max(len(voxels.coordinates) - limit, 0)
    if lost:
        voxels = HardVoxels(voxels.points[:limit], voxels.counts[:limit], voxels.coordinates[:limit], 1, voxels.clipped)
    order = lexicographic_order(voxels.coordinates)
    short = max(FEWEST - len(order), 0)
    arrays = {
        "points": torch.nn.functional.pad(voxels.points[order], (0, 0, 0, 0, 0, short)),
        "owner": torch.nn.functional.pad(voxels.counts[order], (0, short)),
    }
    return arrays, voxels.coordinates[order], lost, voxels.clipped


def _filled_coordinates(cells: Tensor, shape: tuple[int, int, int]) -> Tensor:
    short = max(FEWEST - len(cells), 0)
    nowhere = cells.new_tensor([[0, shape[1], 0]]).expand(short, 3)
    return torch.cat([cells, nowhere])
