"""Neighbour tables: which input row each kernel tap of each output row reads.

Kernel offsets are in lexicographic order of (z, y, x), the order of the weight's flattened kernel axes. Output sites
follow spconv (Yan et al. 2018, SECOND): a strided convolution answers at every cell that any input reaches.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.sparse import table_kernels
from perception.sparse.sites import Sites, coordinates_of, linear_keys

Axes = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class NeighbourTable:
    """``rows`` (K, number of outputs) int32: the input row of each tap, or -1. ``output`` are the sites it leads to."""

    rows: Tensor
    inputs: int
    output: Sites

    @property
    def outputs(self) -> int:
        return self.rows.shape[1]

    @cached_property
    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """For each tap the (input rows, output rows) that meet, both int64, output rows ascending."""
        found = []
        for rows in self.rows:
            outputs = (rows >= 0).nonzero()[:, 0]
            found.append((rows[outputs].long(), outputs))
        return found

    def swapped(self, source: Sites) -> NeighbourTable:
        """The table of the inverse convolution: every pair read backwards, leading to ``source``."""
        rows = self.rows.new_full((len(self.rows), self.inputs), -1)
        for tap, (inputs, outputs) in enumerate(self.pairs):
            rows[tap, inputs] = outputs.to(rows.dtype)
        return NeighbourTable(rows, self.outputs, source)


def submanifold_table(sites: Sites, kernel: Axes, dilation: Axes) -> NeighbourTable:
    """Outputs at the inputs' own sites (Graham et al. 2018, submanifold sparse convolution)."""
    key = ("submanifold", kernel, dilation)
    if key not in sites.tables:
        if any(size % 2 == 0 for size in kernel):
            raise PerceptionError(f"a submanifold kernel of {kernel}", "odd sizes: the centre tap is the cell itself")
        steps = [[(o - k // 2) * d for o, k, d in zip(offset, kernel, dilation)] for offset in _offsets(kernel)]
        rows = _compiled_neighbours(sites, steps) if _compiled(sites) else plain_neighbours(sites, steps)
        sites.tables[key] = NeighbourTable(rows, len(sites), sites)
    return sites.tables[key]


def strided_table(sites: Sites, kernel: Axes, stride: Axes, padding: Axes, dilation: Axes) -> NeighbourTable:
    """Outputs at every cell o with an input at o * stride - padding + tap * dilation."""
    key = ("strided", kernel, stride, padding, dilation)
    if key not in sites.tables:
        shape = tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(sites.spatial_shape, kernel, stride, padding, dilation)
        )
        shifts = [[p - o * d for o, p, d in zip(offset, padding, dilation)] for offset in _offsets(kernel)]
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
        shifts = [[o * d - p for o, p, d in zip(offset, padding, dilation)] for offset in _offsets(kernel)]
        cell = tuple(max(a // b, 1) for a, b in zip(sites.stride, stride))
        sites.tables[key] = _reach(sites, Reach(stride, shifts, (1,) * len(shape), shape), cell)
    return sites.tables[key]


@dataclass(frozen=True)
class Reach:
    """Tap t leads from cell c to (c * scale + shifts[t]) / stride, if that is whole and inside ``shape``."""

    scale: Axes
    shifts: list[list[int]]
    stride: Axes
    shape: Axes


def plain_neighbours(sites: Sites, steps: list[list[int]]) -> Tensor:
    """Rows (K, N) of the cells at each step, by binary search on any device."""
    rows = torch.full((len(steps), len(sites)), -1, dtype=torch.int32, device=sites.device)
    coordinates = sites.coordinates.long()
    for tap, step in enumerate(steps):
        rows[tap] = sites.find(coordinates + coordinates.new_tensor([0, *step])).to(torch.int32)
    return rows


def plain_reach(sites: Sites, reach: Reach) -> tuple[Tensor, Tensor]:
    """Keys (M,) of the cells reached, ascending, and who reached them (K, M), by sorting on any device."""
    stride, limits = sites.coordinates.new_tensor(reach.stride), sites.coordinates.new_tensor(reach.shape)
    scaled = sites.coordinates[:, 1:] * sites.coordinates.new_tensor(reach.scale)
    keys, sources, taps = [], [], []
    for tap, shift in enumerate(reach.shifts):
        moved = scaled + scaled.new_tensor(shift)
        target = torch.div(moved, stride, rounding_mode="floor")
        valid = (moved % stride == 0).all(1) & ((target >= 0) & (target < limits)).all(1)
        source = valid.nonzero()[:, 0]
        cells = torch.cat([sites.coordinates[source, :1], target[source]], 1)
        keys.append(linear_keys(cells, reach.shape, sites.batch_size))
        sources.append(source)
        taps.append(torch.full_like(source, tap))
    distinct, position = torch.cat(keys).unique(return_inverse=True)
    rows = torch.full((len(reach.shifts), len(distinct)), -1, dtype=torch.int32, device=sites.device)
    rows[torch.cat(taps), position] = torch.cat(sources).to(torch.int32)
    return distinct, rows


def _offsets(kernel: Axes) -> Iterable[Axes]:
    return itertools.product(*(range(size) for size in kernel))


def _compiled(sites: Sites) -> bool:
    return sites.device.type == "cpu" and sites.order == "lexicographic"


def _compiled_neighbours(sites: Sites, steps: list[list[int]]) -> Tensor:
    shape, moves = np.array(sites.spatial_shape), np.array(steps)
    return torch.from_numpy(table_kernels.submanifold_rows(sites.coordinates.numpy(), sites.keys.numpy(), moves, shape))


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
        numbers = (np.array(values) for values in (reach.scale, reach.shifts, reach.stride, reach.shape))
        cells = table_kernels.reached_cells(sites.coordinates.numpy(), *numbers)
        keys, rows = (torch.from_numpy(array) for array in table_kernels.number_cells(cells, total))
    else:
        keys, rows = plain_reach(sites, reach)
    coordinates = coordinates_of(keys, reach.shape)
    output = Sites(coordinates, reach.shape, sites.batch_size, cell, "lexicographic")
    return NeighbourTable(rows, len(sites), output)
