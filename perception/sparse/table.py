"""Neighbour tables: which input row each kernel tap of each output row reads."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from perception.sparse.pairs import BlockedPairs, blocked_pairs, swap
from perception.threads import fair, run_shares

if TYPE_CHECKING:
    from perception.sparse.sites import Sites


@dataclass(frozen=True, eq=False)
class NeighbourTable:
    """``rows`` (K, number of outputs) int32: the input row of each tap, or -1.

    ``output`` are new sites that the table leads to, or None where it leads to the sites that own it: a reference
    back would keep both alive. In a ``mirrored`` table, row a reads row b at tap k exactly where b reads a at tap
    K - 1 - k, so it is its own adjoint, read backwards.
    """

    rows: Tensor
    inputs: int
    output: Sites | None = None
    mirrored: bool = False
    _original: weakref.ref[NeighbourTable] | None = field(default=None, repr=False)
    _blocks: dict[int, BlockedPairs] = field(default_factory=dict, repr=False)

    @property
    def outputs(self) -> int:
        return self.rows.shape[1]

    def leads_to(self, owner: Sites) -> Sites:
        """The sites of the output, given those that own the table."""
        return owner if self.output is None else self.output

    @cached_property
    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """For each tap the (input rows, output rows) that meet, both int64, output rows ascending."""
        found = []
        for rows in self.rows:
            outputs = (rows >= 0).nonzero()[:, 0]
            found.append((rows[outputs].long(), outputs))
        return found

    def blocks(self, multiple: int) -> BlockedPairs:
        """The pairs in blocks for the CPU engine, lists filled up to multiples of ``multiple``; kept for all layers."""
        if multiple not in self._blocks:
            self._blocks[multiple] = blocked_pairs(self.rows, multiple)
        return self._blocks[multiple]

    @property
    def adjoint(self) -> NeighbourTable:
        """Every pair read backwards, taps numbered as here: the table of gradients and of inverse convolutions."""
        original = self._original() if self._original is not None else None
        return original if original is not None else self._swapped

    @cached_property
    def _swapped(self) -> NeighbourTable:
        rows = self.rows.new_full((len(self.rows), self.inputs), -1)
        if rows.device.type == "cpu":
            shares = fair(np.full(len(rows), self.outputs), 2**21)
            run_shares(swap, [(self.rows.numpy(), rows.numpy(), *share) for share in shares])
        else:
            for tap, (inputs, outputs) in enumerate(self.pairs):
                rows[tap, inputs] = outputs.to(rows.dtype)
        return NeighbourTable(rows, self.outputs, _original=weakref.ref(self))
