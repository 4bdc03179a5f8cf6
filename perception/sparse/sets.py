"""Dynamic sets: the voxels of a window in sets of one size, for attention without padding (DSVT, Wang et al. 2023)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.sparse.conv import Size, axes
from perception.sparse.scatter import gather_rows
from perception.sparse.sites import Sites
from perception.sparse.windows import Windows, partition


@dataclass(frozen=True, eq=False)
class VoxelSets:
    """Two partitions of the same windows into S sets of ``size`` slots: index 0 goes along y first, 1 along x first.

    ``rows`` (2, S, size) int64: the row in each slot. A set with fewer rows than slots repeats some of them, always in
    neighbouring slots; ``repeated`` (2, S, size) bool marks all but the first, which attention must not see as keys.
    ``slot`` (2, N) int64: the first slot, counted through all sets, of each row; every row is in exactly one set.
    """

    rows: Tensor
    repeated: Tensor
    slot: Tensor
    windows: Windows

    def take(self, features: Tensor, axis: int) -> Tensor:
        """Features (N, C) in the sets of one partition: (S, size, C)."""
        rows = self.rows[axis]
        return gather_rows(features, rows.flatten()).view(*rows.shape, features.shape[1])

    def put_back(self, values: Tensor, axis: int) -> Tensor:
        """Values (S, size, C) of the first slot of each row: (N, C)."""
        return values.flatten(0, 1).index_select(0, self.slot[axis])


def dynamic_sets(sites: Sites, window: Size, shift: Size, size: int) -> VoxelSets:
    """Sets of ``size`` slots inside windows (z y x) that are shifted as in ``windows.partition``.

    A window that is as high as the grid is not shifted along z: there is nothing to shift into (as published).
    """
    boxes, shifts = axes(window, sites.dimension), axes(shift, sites.dimension)
    if sites.dimension == 3 and boxes[0] == sites.spatial_shape[0]:
        shifts = (0, *shifts[1:])
    return window_sets(partition(sites, boxes, shifts), size)


def window_sets(windows: Windows, size: int) -> VoxelSets:
    """A window of n rows gives S = ceil(n / size) sets; slot j of set s holds the row of rank
    floor((s * size + j) * n / (S * size)) (equation 3 of the paper), ranks by (y, x, z) and by (x, y, z).

    Rows are spread evenly over slots, so no row falls into two sets: S * size / n < S / (S - 1).
    """
    if size < 1:
        raise PerceptionError(f"sets of {size} slots", "at least 1")
    counts = windows.counts
    sets = (counts + (size - 1)) // size
    owner = torch.arange(len(windows), device=counts.device).repeat_interleave(sets)
    number = torch.arange(len(owner), device=counts.device) - (sets.cumsum(0) - sets)[owner]
    slots = number[:, None] * size + torch.arange(size, device=counts.device)
    # Whole-number division is exact; the published float64 quotient rounds down to the same ranks.
    rank = slots * counts[owner, None] // (sets[owner, None] * size)
    place = windows.offsets[owner, None] + rank

    rows = torch.stack([order[place] for order in _orders(windows)])
    repeated = torch.zeros_like(rows, dtype=torch.bool)
    repeated[:, :, 1:] = rows[:, :, 1:] == rows[:, :, :-1]
    slot = torch.stack([_first_slots(r.flatten(), m.flatten(), len(windows.order)) for r, m in zip(rows, repeated)])
    return VoxelSets(rows, repeated, slot, windows)


def _orders(windows: Windows) -> tuple[Tensor, Tensor]:
    """Rows window by window, in each by (y, x, z), and by (x, y, z): both (N,) int64."""
    if len(windows) * math.prod(windows.size) >= 2**63:
        raise PerceptionError(
            f"{len(windows)} windows of {windows.size} cells", "fewer than 2^63 cells", "use smaller windows"
        )
    length, width = windows.size[-2:]
    y, x = windows.cell[:, -2], windows.cell[:, -1]
    by_y = (windows.window * length + y) * width + x
    by_x = (windows.window * width + x) * length + y
    if len(windows.size) == 3:
        by_y, by_x = (key * windows.size[0] + windows.cell[:, 0] for key in (by_y, by_x))
    return by_y.argsort(), by_x.argsort()


def _first_slots(rows: Tensor, repeated: Tensor, number: int) -> Tensor:
    first = (~repeated).nonzero()[:, 0]
    slot = rows.new_empty(number)
    slot[rows[first]] = first
    return slot
