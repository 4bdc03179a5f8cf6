"""Neighbour tables: which input row each kernel tap of each output row reads.

Kernel offsets are in lexicographic order of (z, y, x), the order of the weight's flattened kernel axes. Output sites
follow spconv (Yan et al. 2018, SECOND): a strided convolution answers at every cell that any input reaches.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from perception.errors import PerceptionError
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
    if key in sites.tables:
        return sites.tables[key]
    if any(size % 2 == 0 for size in kernel):
        raise PerceptionError(f"a submanifold kernel of {kernel}", "odd sizes: the centre tap is the cell itself")
    offsets = list(_offsets(kernel))
    rows = torch.full((len(offsets), len(sites)), -1, dtype=torch.int32, device=sites.device)
    centre = len(offsets) // 2
    rows[centre] = torch.arange(len(sites), dtype=torch.int32, device=sites.device)
    coordinates = sites.coordinates.long()
    for tap in range(centre):  # the other half mirrors this one: i reads j at d exactly if j reads i at -d
        step = [(o - size // 2) * d for o, size, d in zip(offsets[tap], kernel, dilation)]
        found = sites.find(coordinates + coordinates.new_tensor([0, *step]))
        reader = (found >= 0).nonzero()[:, 0]
        rows[tap, reader] = found[reader].to(torch.int32)
        rows[-1 - tap, found[reader]] = reader.to(torch.int32)
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
        steps = sites.coordinates.new_tensor(stride)
        reached = []
        for offset in _offsets(kernel):
            shift = sites.coordinates.new_tensor([p - o * d for o, p, d in zip(offset, padding, dilation)])
            moved = sites.coordinates[:, 1:] + shift
            reached.append((torch.div(moved, steps, rounding_mode="floor"), (moved % steps == 0).all(1)))
        cell = tuple(a * b for a, b in zip(sites.stride, stride))
        sites.tables[key] = _reach(sites, reached, shape, cell)
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
        everywhere = torch.ones(len(sites), dtype=torch.bool, device=sites.device)
        scaled = sites.coordinates[:, 1:] * sites.coordinates.new_tensor(stride)
        reached = [
            (scaled + scaled.new_tensor([o * d - p for o, p, d in zip(offset, padding, dilation)]), everywhere)
            for offset in _offsets(kernel)
        ]
        cell = tuple(max(a // b, 1) for a, b in zip(sites.stride, stride))
        sites.tables[key] = _reach(sites, reached, shape, cell)
    return sites.tables[key]


def _offsets(kernel: Axes) -> Iterable[Axes]:
    return itertools.product(*(range(size) for size in kernel))


def _reach(sites: Sites, reached: list[tuple[Tensor, Tensor]], shape: Axes, cell: Axes) -> NeighbourTable:
    """Unite the cells that the taps reach, and note who reached what."""
    if min(shape) < 1:
        raise PerceptionError(
            f"a grid of {sites.spatial_shape} cells shrinks to {shape}",
            "at least one cell on every axis",
            "use a larger range or a smaller kernel",
        )
    limits = sites.coordinates.new_tensor(shape)
    batch = sites.coordinates[:, :1]
    keys, sources = [], []
    for target, valid in reached:
        valid = valid & ((target >= 0) & (target < limits)).all(1)
        source = valid.nonzero()[:, 0]
        keys.append(linear_keys(torch.cat([batch, target], 1)[source], shape, sites.batch_size))
        sources.append(source)
    cells, position = torch.cat(keys).unique(return_inverse=True)
    rows = torch.full((len(reached), len(cells)), -1, dtype=torch.int32, device=sites.device)
    tap = torch.repeat_interleave(
        torch.arange(len(reached), device=sites.device), torch.tensor([len(k) for k in keys], device=sites.device)
    )
    rows[tap, position] = torch.cat(sources).to(torch.int32)
    output = Sites(coordinates_of(cells, shape), shape, sites.batch_size, cell, "lexicographic")
    return NeighbourTable(rows, len(sites), output)
