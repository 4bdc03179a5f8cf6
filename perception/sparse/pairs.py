"""A neighbour table as lists of the pairs that meet, in blocks of output rows: what the CPU engine walks along."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from perception.compiled import compiled
from perception.threads import fair, run_shares

ROWS_A_BLOCK = 512
"""Output rows of a block: with 64 channels 128 kB, half of a small second-level cache."""


@dataclass(frozen=True, eq=False)
class BlockedPairs:
    """Pairs of tap k in block b are ``of`` and ``to`` (int32) from ``ends[b, k]`` on, ``counts[b, k]`` of them.

    Each list is filled up to a multiple of ``multiple`` with pairs from row 0 to the row after the last output.
    """

    of: np.ndarray
    to: np.ndarray
    ends: np.ndarray
    counts: np.ndarray

    @cached_property
    def work(self) -> np.ndarray:
        """Pairs of each block, (blocks,)."""
        return self.ends[:, -1] - self.ends[:, 0]

    @cached_property
    def pairs_a_tap(self) -> np.ndarray:
        return self.counts.sum(0)


def blocked_pairs(rows: torch.Tensor, multiple: int) -> BlockedPairs:
    """Group the table ``rows`` (K, M) int32; the pairs of a tap in a block ascend in their output rows."""
    table = rows.numpy()
    blocks = -(-table.shape[1] // ROWS_A_BLOCK)
    counts = np.zeros((blocks, len(table)), np.int64)
    shares = fair(np.full(blocks, table.size / max(blocks, 1)), 2**21)
    run_shares(_count, [(table, ROWS_A_BLOCK, counts, *share) for share in shares])
    full = -(-counts // multiple) * multiple
    # One spare place after each block: filling writes before it knows whether there is a pair.
    ends = np.zeros((blocks, len(table) + 1), np.int64)
    ends[:, 1:] = full.cumsum(1)
    ends += np.concatenate([[0], (ends[:, -1] + 1).cumsum()[:-1]])[:blocks, None]
    total = int(ends[-1, -1]) + 1 if blocks else 0
    of, to = np.empty(total, np.int32), np.empty(total, np.int32)
    run_shares(_fill, [(table, ROWS_A_BLOCK, ends, of, to, *share) for share in shares])
    return BlockedPairs(of, to, ends, counts)


@compiled
def _count(rows: np.ndarray, rows_a_block: int, counts: np.ndarray, first: int, last: int) -> None:
    for block in range(first, last):
        for tap in range(len(rows)):
            number = np.int32(0)
            for source in rows[tap, block * rows_a_block : (block + 1) * rows_a_block]:
                number += np.int32(source >= 0)
            counts[block, tap] = number


@compiled
def _fill(
    rows: np.ndarray, rows_a_block: int, ends: np.ndarray, of: np.ndarray, to: np.ndarray, first: int, last: int
) -> None:
    outputs = rows.shape[1]
    for block in range(first, last):
        for tap in range(len(rows)):
            place, end = ends[block, tap], ends[block, tap + 1]
            for row in range(block * rows_a_block, min((block + 1) * rows_a_block, outputs)):
                of[place] = rows[tap, row]
                to[place] = row
                place += rows[tap, row] >= 0  # no branch: whether there is a neighbour cannot be predicted
            of[place:end] = 0
            to[place:end] = outputs


@compiled
def swap(rows: np.ndarray, swapped: np.ndarray, first: int, last: int) -> None:
    """``swapped[k, i] = o`` for every pair (i, o) of taps first .. last; ``swapped`` starts full of -1."""
    for tap in range(first, last):
        for row in range(rows.shape[1]):
            if rows[tap, row] >= 0:
                swapped[tap, rows[tap, row]] = row
