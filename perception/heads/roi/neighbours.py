"""What the searches for neighbours answer, and its plain form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Neighbours:
    """``rows`` (Q, K) int64 of the neighbours of each query; ``counts`` (Q,) int64, how many of the K slots are filled.

    Empty slots repeat the first neighbour, as the published models have it, and are 0 where there is none.
    """

    rows: Tensor
    counts: Tensor

    def pairs(self) -> tuple[Tensor, Tensor]:
        """The filled slots as (query, row), both int64, queries ascending."""
        slot = torch.arange(self.rows.shape[1], device=self.rows.device)
        filled = slot < self.counts[:, None]
        return filled.nonzero()[:, 0], self.rows[filled]


def first_of(hits: Tensor, rows: Tensor, slots: int) -> Neighbours:
    """The first ``slots`` hits of each query: ``hits`` (Q, N) bool, ``rows`` (Q, N) or (N,) what each column is."""
    rank = hits.cumsum(1)
    counts = (rank[:, -1] if hits.shape[1] else rank.new_zeros(len(hits))).clamp(max=slots)
    query, column = (hits & (rank <= slots)).nonzero().unbind(1)
    found = rank.new_zeros((len(hits), slots))
    taken = rows[column] if rows.ndim == 1 else rows[query, column]
    found[query, rank[query, column] - 1] = taken
    slot = torch.arange(slots, device=hits.device)
    return Neighbours(torch.where(slot < counts[:, None], found, found[:, :1]), counts)
