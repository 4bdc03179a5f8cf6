"""Neighbour tables of the convolutions, and the sites that they lead to.

Kernel offsets are in lexicographic order of (z, y, x), the order of the weight's flattened kernel axes. Two dialects
say where a strided convolution answers: at every cell that any input reaches (spconv; Yan et al. 2018, SECOND), or
only at the cells of the coarser grid that hold an input (MinkowskiEngine; Choy et al. 2019).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.sparse import table_kernels
from perception.sparse.sites import Sites, coordinates_of, linear_keys
from perception.sparse.table import NeighbourTable
from perception.threads import fair, run_shares

Axes = tuple[int, ...]


def submanifold_table(sites: Sites, kernel: Axes, dilation: Axes) -> NeighbourTable:
    """Outputs at the inputs' own sites (Graham et al. 2018, submanifold sparse convolution)."""
    key = ("submanifold", kernel, dilation)
    if key not in sites.tables:
        if any(size % 2 == 0 for size in kernel):
            raise PerceptionError(f"a submanifold kernel of {kernel}", "odd sizes: the centre tap is the cell itself")
        steps = centred_steps(kernel, dilation)
        rows = (
            _compiled_submanifold(sites, steps, kernel, dilation)
            if _compiled(sites)
            else plain_neighbours(sites, steps)
        )
        sites.tables[key] = NeighbourTable(rows, len(sites), mirrored=True)
    return sites.tables[key]


def strided_table(sites: Sites, kernel: Axes, stride: Axes, padding: Axes, dilation: Axes) -> NeighbourTable:
    """spconv's dialect: outputs at every cell o with an input at o * stride - padding + tap * dilation."""
    key = ("strided", kernel, stride, padding, dilation)
    if key not in sites.tables:
        shape = tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(sites.spatial_shape, kernel, stride, padding, dilation)
        )
        shifts = tuple(tuple(p - o * d for o in range(k)) for k, p, d in zip(kernel, padding, dilation))
        cell = tuple(a * b for a, b in zip(sites.stride, stride))
        sites.tables[key] = _reach(sites, Reach((1,) * len(shape), shifts, stride, shape), cell)
    return sites.tables[key]


def transposed_table(
    sites: Sites, kernel: Axes, stride: Axes, padding: Axes, dilation: Axes, output_padding: Axes
) -> NeighbourTable:
    """Outputs at every cell i * stride - padding + tap * dilation of an input i: the grid grows by the stride."""
    key = ("transposed", kernel, stride, padding, dilation, output_padding)
    if key not in sites.tables:
        shape = tuple(
            (n - 1) * s - 2 * p + d * (k - 1) + 1 + extra
            for n, k, s, p, d, extra in zip(sites.spatial_shape, kernel, stride, padding, dilation, output_padding)
        )
        shifts = tuple(tuple(o * d - p for o in range(k)) for k, p, d in zip(kernel, padding, dilation))
        cell = tuple(max(a // b, 1) for a, b in zip(sites.stride, stride))
        sites.tables[key] = _reach(sites, Reach(stride, shifts, (1,) * len(shape), shape), cell)
    return sites.tables[key]


def coarsened_table(sites: Sites, kernel: Axes, stride: Axes, dilation: Axes) -> NeighbourTable:
    """MinkowskiEngine's dialect: outputs at the distinct floor(c / stride) of the inputs c alone.

    Output o reads the inputs at o * stride + (tap - k // 2) * dilation, an even kernel those from tap 0 on.
    """
    key = ("coarsened", kernel, stride, dilation)
    if key not in sites.tables:
        shape = tuple(-(-n // s) for n, s in zip(sites.spatial_shape, stride))
        cells = sites.coordinates.clone()
        cells[:, 1:] = torch.div(cells[:, 1:], cells.new_tensor(stride), rounding_mode="floor")
        keys = linear_keys(cells, shape, sites.batch_size).unique()
        cell = tuple(a * b for a, b in zip(sites.stride, stride))
        output = Sites(coordinates_of(keys, shape), shape, sites.batch_size, cell, "lexicographic")
        steps = centred_steps(kernel, dilation)
        find = _compiled_find if _compiled(sites) else plain_find
        sites.tables[key] = NeighbourTable(find(sites, output, steps, stride), len(sites), output)
    return sites.tables[key]


@dataclass(frozen=True)
class Reach:
    """Tap (t, u, ...) leads from cell c to (c + (shifts[0][t], shifts[1][u], ...)) / stride, c times ``scale`` first.

    It leads there if that is whole and inside ``shape``. ``shifts`` has one list for each axis.
    """

    scale: Axes
    shifts: tuple[tuple[int, ...], ...]
    stride: Axes
    shape: Axes

    @property
    def taps(self) -> list[Axes]:
        return list(itertools.product(*self.shifts))


def centred_steps(kernel: Axes, dilation: Axes) -> list[list[int]]:
    """The distance of each tap from the centre (K, d); an even kernel begins at its own cell."""
    starts = [-(k // 2) if k % 2 else 0 for k in kernel]
    return [[(start + o) * d for start, o, d in zip(starts, tap, dilation)] for tap in np.ndindex(*kernel)]


def plain_neighbours(sites: Sites, steps: list[list[int]]) -> Tensor:
    """Rows (K, N) of the cells at each step, by binary search on any device."""
    return plain_find(sites, sites, steps, (1,) * sites.dimension)


def plain_find(sites: Sites, output: Sites, steps: list[list[int]], scale: Axes) -> Tensor:
    """Rows (K, M) of the cells at ``output * scale + step``, by binary search on any device."""
    rows = torch.full((len(steps), len(output)), -1, dtype=torch.int32, device=sites.device)
    coordinates = output.coordinates.long() * output.coordinates.new_tensor([1, *scale])
    for tap, step in enumerate(steps):
        rows[tap] = sites.find(coordinates + coordinates.new_tensor([0, *step])).to(torch.int32)
    return rows


def plain_reach(sites: Sites, reach: Reach) -> tuple[Tensor, Tensor]:
    """Keys (M,) of the cells reached, ascending, and who reached them (K, M), by sorting on any device."""
    stride, limits = sites.coordinates.new_tensor(reach.stride), sites.coordinates.new_tensor(reach.shape)
    scaled = sites.coordinates[:, 1:] * sites.coordinates.new_tensor(reach.scale)
    keys, sources, taps = [], [], []
    for tap, shift in enumerate(reach.taps):
        moved = scaled + scaled.new_tensor(shift)
        target = torch.div(moved, stride, rounding_mode="floor")
        valid = (moved % stride == 0).all(1) & ((target >= 0) & (target < limits)).all(1)
        source = valid.nonzero()[:, 0]
        cells = torch.cat([sites.coordinates[source, :1], target[source]], 1)
        keys.append(linear_keys(cells, reach.shape, sites.batch_size))
        sources.append(source)
        taps.append(torch.full_like(source, tap))
    distinct, position = torch.cat(keys).unique(return_inverse=True)
    rows = torch.full((len(reach.taps), len(distinct)), -1, dtype=torch.int32, device=sites.device)
    rows[torch.cat(taps), position] = torch.cat(sources).to(torch.int32)
    return distinct, rows


def _compiled(sites: Sites) -> bool:
    return sites.device.type == "cpu"


@dataclass(frozen=True, eq=False)
class _Ascending:
    """Sites in lexicographic order, whatever their own; ``rows`` (N,) says where each came from, None for in place."""

    coordinates: np.ndarray
    keys: np.ndarray
    rows: Tensor | None

    @classmethod
    def of(cls, sites: Sites) -> _Ascending:
        if sites.order == "lexicographic":
            return cls(sites.coordinates.numpy(), sites.keys.numpy(), None)
        keys, rows = sites.sorted_keys
        return cls(sites.coordinates[rows].numpy(), keys.numpy(), rows)

    def inputs(self, table: np.ndarray) -> Tensor:
        """A table whose entries count ascending sites, in the rows that the sites really have."""
        found = torch.from_numpy(table)
        if self.rows is None:
            return found
        return torch.where(found >= 0, self.rows.to(torch.int32)[found.clamp(min=0).long()], -1)

    def outputs(self, table: Tensor) -> Tensor:
        """The same for a table whose columns are ascending sites."""
        if self.rows is None:
            return table
        moved = torch.empty_like(table)
        moved[:, self.rows] = table
        return moved


def _compiled_submanifold(sites: Sites, steps: list[list[int]], kernel: Axes, dilation: Axes) -> Tensor:
    ascending = _Ascending.of(sites)
    rows = np.empty((len(steps), len(sites)), np.int32)
    shares = _shares(len(steps) // kernel[-1] // 2 + 1, len(sites))
    grid = (np.array(steps), kernel[-1], dilation[-1], np.array(sites.spatial_shape))
    common = (ascending.coordinates, ascending.keys, *grid, rows)
    run_shares(table_kernels.submanifold_rows, [(*common, *share) for share in shares])
    return ascending.outputs(ascending.inputs(rows))


def _compiled_find(sites: Sites, output: Sites, steps: list[list[int]], scale: Axes) -> Tensor:
    """What ``plain_find`` answers, for outputs in lexicographic order."""
    ascending = _Ascending.of(sites)
    rows = np.full((len(steps), len(output)), -1, np.int32)
    arrays = (np.array(scale), np.array(steps), ascending.keys, np.array(sites.spatial_shape), rows)
    shares = _shares(len(steps), len(output))
    run_shares(table_kernels.merged_rows, [(output.coordinates.numpy(), *arrays, *share) for share in shares])
    return ascending.inputs(rows)


def _shares(taps: int, rows: int) -> list[tuple[int, int]]:
    return fair(np.full(taps, rows), 2**15)


def _reach(sites: Sites, reach: Reach, cell: Axes) -> NeighbourTable:
    """Unite the cells that the taps reach, and note who reached what."""
    if min(reach.shape) < 1:
        raise PerceptionError(
            f"a grid of {sites.spatial_shape} cells shrinks to {reach.shape}",
            "at least one cell on every axis",
            "use a larger range or a smaller kernel",
        )
    total = sites.batch_size * math.prod(reach.shape)
    if _compiled(sites) and total <= table_kernels.MAXIMUM_CELLS:
        keys, rows = compiled_reach(sites, reach)
    else:
        keys, rows = plain_reach(sites, reach)
    coordinates = coordinates_of(keys, reach.shape)
    output = Sites(coordinates, reach.shape, sites.batch_size, cell, "lexicographic")
    return NeighbourTable(rows, len(sites), output)


def compiled_reach(sites: Sites, reach: Reach) -> tuple[Tensor, Tensor]:
    """What ``plain_reach`` answers, for sites on the CPU."""
    ascending = _Ascending.of(sites)
    longest = max(map(len, reach.shifts))
    shifts = np.zeros((len(reach.shifts), longest), np.int64)
    for axis, values in enumerate(reach.shifts):
        shifts[axis, : len(values)] = values
    numbers = [np.array(values) for values in (reach.scale, reach.stride, reach.shape)]
    kernel = np.array([len(values) for values in reach.shifts])
    most = math.prod(_most_valid(*axis) for axis in zip(reach.scale, reach.shifts, reach.stride))
    cells, taps = np.empty((len(sites), most), np.int64), np.empty((len(sites), most), np.int32)
    shares = fair(np.full(len(sites), most), 2**15)
    common = (ascending.coordinates, shifts, kernel, *numbers, cells, taps)
    run_shares(table_kernels.reached_cells, [(*common, *share) for share in shares])
    total = sites.batch_size * math.prod(reach.shape)
    keys, rows = table_kernels.number_cells(cells, taps, len(reach.taps), total)
    return torch.from_numpy(keys), ascending.inputs(rows)


def _most_valid(scale: int, shifts: tuple[int, ...], stride: int) -> int:
    """How many taps along an axis lead from one cell to whole cells, at most."""
    return max(sum((cell * scale + shift) % stride == 0 for shift in shifts) for cell in range(stride))
