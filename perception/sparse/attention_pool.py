"""Attention pooling of blocks of cells, as DSVT halves its height (Wang et al. 2023, section 3.4)."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from perception.errors import PerceptionError
from perception.sparse.conv import Size, axes
from perception.sparse.neighbours import strided_table
from perception.sparse.sites import Sites
from perception.sparse.table import NeighbourTable
from perception.sparse.tensor import SparseTensor


def block_table(sites: Sites, size: Size) -> NeighbourTable:
    """Blocks of ``size`` cells that tile the grid from its origin: each input under exactly one output.

    Blocks at the far border may stick out of the grid, so no cell is lost: the output has ceil(n / size) cells an axis.
    """
    steps = axes(size, sites.dimension)
    key = ("blocks", steps)
    if key not in sites.tables:
        shape = tuple(-(-n // step) * step for n, step in zip(sites.spatial_shape, steps))
        whole = replace(sites, spatial_shape=shape, tables={})
        sites.tables[key] = strided_table(whole, steps, steps, (0,) * len(steps), (1,) * len(steps))
    return sites.tables[key]


class AttentionPool(nn.Module):
    """One cell for each block of cells: their maximum asks, the cells answer, and a norm closes.

    ``size`` is the block in the order z y x. ``position`` holds one vector a slot, slots counted with x slowest and z
    fastest, as in the published weights. With ``empty_slots`` (the published form: its padding mask is all zeros) an
    empty slot is a zero vector that takes part in the maximum and is attended to; without, only occupied cells count.
    """

    def __init__(self, channels: int, size: Size, heads: int = 8, empty_slots: bool = True, dimension: int = 3) -> None:
        super().__init__()
        self.size = axes(size, dimension)
        if min(self.size) < 1 or channels % heads:
            raise PerceptionError(
                f"blocks of {self.size} cells and {channels} channels for {heads} heads",
                "at least one cell on every axis, and channels that the heads share evenly",
            )
        self.empty_slots = empty_slots
        self.position = nn.Parameter(torch.randn(math.prod(self.size), channels) * 0.01)
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.norm = nn.LayerNorm(channels)

    def extra_repr(self) -> str:
        return f"size {self.size}, empty slots {self.empty_slots}"

    def forward(self, x: SparseTensor) -> SparseTensor:
        table = block_table(x.sites, self.size)
        output = table.leads_to(x.sites)
        rows = _slots_x_slowest(table.rows, self.size)
        if not len(rows):
            return SparseTensor(x.features.new_zeros((0, x.channels)), output)
        occupied = rows >= 0
        slots = _fill(x.features, rows, occupied)
        if self.empty_slots:
            query, empty = slots.max(1, keepdim=True).values, None
        else:
            query = slots.masked_fill(~occupied[..., None], -math.inf).max(1, keepdim=True).values
            empty = ~occupied
        answer, _ = self.attention(query, slots + self.position, slots, key_padding_mask=empty, need_weights=False)
        return SparseTensor(self.norm(answer + query)[:, 0], output)


def _slots_x_slowest(rows: Tensor, size: tuple[int, ...]) -> Tensor:
    """Rows (V, M) of taps with x fastest -> (M, V) with x slowest."""
    return rows.view(*size, -1).permute(*range(len(size), -1, -1)).flatten(1).long()


def _fill(features: Tensor, rows: Tensor, occupied: Tensor) -> Tensor:
    """Features (N, C) in their slots (M, V, C), zeros elsewhere."""
    slots = features.new_zeros((rows.numel(), features.shape[1]))
    places = occupied.flatten().nonzero()[:, 0]
    return slots.index_copy(0, places, features.index_select(0, rows[occupied])).view(*rows.shape, -1)
