"""Windows of octree attention: runs of as many nodes along the Morton curve (Wang 2023, OctFormer, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from perception.sparse.octree import Level

Extent = Literal["batch", "cloud"]

ELSEWHERE = -1000.0
"""Added to the score of a pair of nodes of two clouds; exp makes zero of it."""


@dataclass(frozen=True, eq=False)
class OctreeWindows:
    """N nodes in W windows of K slots.

    ``rows`` (W, K) int64: the node in each slot, N where it is empty. ``samples`` (W, K): its cloud, the batch size
    where it is empty. ``slot`` (N,): each node's slot, counted through all windows. ``location`` (W, K, 3): its cell,
    x y z.
    ``with_tokens``: each window begins with one slot more, that of its relay token.
    """

    rows: Tensor
    samples: Tensor
    slot: Tensor
    location: Tensor
    with_tokens: bool
    _kept: dict[int, Tensor] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> int:
        return self.rows.shape[1]

    @cached_property
    def owners(self) -> Tensor:
        """The cloud of each window (W,): the first of those that share it, as published."""
        return self.samples.amin(1)

    @cached_property
    def sequence(self) -> Tensor:
        """Where each slot's values are in nodes, then tokens, then one row for all empty slots: (W, K or 1 + K)."""
        nodes, windows = len(self.slot), len(self)
        if not self.with_tokens:
            return self.rows
        rows = torch.where(self.rows == nodes, nodes + windows, self.rows)
        tokens = nodes + torch.arange(windows, device=rows.device)
        return torch.cat([tokens[:, None], rows], 1)

    @cached_property
    def places(self) -> Tensor:
        """Where in the flattened ``sequence`` each node is, then each token."""
        if not self.with_tokens:
            return self.slot
        length = self.size + 1
        nodes = self.slot.div(self.size, rounding_mode="floor") * length + self.slot % self.size + 1
        return torch.cat([nodes, torch.arange(len(self), device=nodes.device) * length])

    def pairs(self, bound: int) -> Tensor:
        """Rows of a position table for each pair of slots (W * K * K, 3): first minus second, up to ``bound``."""
        if bound not in self._kept:
            apart = (self.location[:, :, None] - self.location[:, None]).clamp(-bound, bound)
            first = torch.arange(3, device=apart.device) * (2 * bound + 1) + bound
            self._kept[bound] = (apart + first).flatten(0, 2).to(torch.int32)
        return self._kept[bound]

    @cached_property
    def shared(self) -> tuple[Tensor, Tensor]:
        """Windows that hold more than one cloud, or none in some slots (S,), and what to add to their pairs' scores."""
        first = self.owners[:, None]
        windows = (self.samples != first).any(1).nonzero()[:, 0]
        samples = torch.cat([first, self.samples], 1)[windows] if self.with_tokens else self.samples[windows]
        return windows, (samples[:, :, None] != samples[:, None]) * ELSEWHERE


def octree_windows(level: Level, size: int, dilation: int, extent: Extent, with_tokens: bool = False) -> OctreeWindows:
    """The windows of a level; slots are filled up to a multiple of ``size * dilation``, for ``dilated`` ones.

    Extent ``batch`` cuts the curve through all clouds at once, so that a window may hold the end of one and the
    beginning of the next, as published weights were trained; ``cloud`` begins anew for each.
    """
    sites = level.sites
    sample = sites.coordinates[:, 0].long()
    block, number = size * dilation, torch.arange(len(sample), device=sample.device)
    counts = sites.rows_per_sample if extent == "cloud" else sample.new_tensor([len(sample)])
    filled = (counts + (block - 1)).div(block, rounding_mode="floor") * block
    # How far each cloud's nodes are moved by the empty slots in front of it.
    shift = (filled - counts).cumsum(0) - (filled - counts)
    slot = number + shift[sample if extent == "cloud" else torch.zeros_like(sample)]
    total = int(filled.sum())
    rows = slot.new_full((total,), len(sample)).index_copy(0, slot, number)
    samples = slot.new_full((total,), sites.batch_size).index_copy(0, slot, sample)
    location = F.pad(sites.coordinates[:, 1:].flip(1), (0, 0, 0, 1))[rows]
    return OctreeWindows(rows.view(-1, size), samples.view(-1, size), slot, location.view(-1, size, 3), with_tokens)


def dilated(plain: OctreeWindows, dilation: int) -> OctreeWindows:
    """Windows of every ``dilation``-th slot of as many windows in a row."""
    if dilation == 1:
        return plain

    def spread(values: Tensor) -> Tensor:
        return values.flatten(0, 1).unflatten(0, (-1, plain.size, dilation)).transpose(1, 2).reshape(values.shape)

    order = spread(torch.arange(plain.rows.numel(), device=plain.slot.device).view_as(plain.rows)).flatten()
    moved = torch.empty_like(order).index_copy(0, order, torch.arange(len(order), device=order.device))
    slot = moved[plain.slot]
    return OctreeWindows(spread(plain.rows), spread(plain.samples), slot, spread(plain.location), plain.with_tokens)
