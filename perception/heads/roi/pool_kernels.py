"""The largest value of each channel over the neighbours of each query."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from perception.compiled import compiled
from perception.heads.roi.neighbours import Neighbours
from perception.sparse.scatter import scatter_sum
from perception.threads import fair, run_shares


def first_largest(values: Tensor, near: Neighbours) -> Tensor:
    """(Q, C): the maximum of the rows of ``values`` (N, C) that are neighbours of each query; 0 where there are none.

    The gradient goes to the first neighbour that holds the maximum.
    """
    if not len(values):
        return values.new_zeros((len(near.rows), values.shape[1])) + values.sum()
    holder = _holder(values.detach(), near) if _fast(values) else plain_holder(values.detach(), near)
    largest = _Pick.apply(values, holder)
    return torch.where(near.counts[:, None] > 0, largest, 0.0)


def plain_holder(values: Tensor, near: Neighbours) -> Tensor:
    """The row (Q, C) int64 that holds the maximum of each channel, the first of equal ones, on any device."""
    slot = values[near.rows].max(1).indices if near.rows.numel() else near.rows.new_zeros((0, values.shape[1]))
    return near.rows.gather(1, slot)


def _fast(values: Tensor) -> bool:
    return values.device.type == "cpu" and values.dtype == torch.float32


def _holder(values: Tensor, near: Neighbours) -> Tensor:
    holder = np.zeros((len(near.rows), values.shape[1]), np.int64)
    arrays = (np.ascontiguousarray(values.numpy()), near.rows.numpy(), near.counts.numpy(), holder)
    run_shares(_find, [(*arrays, *share) for share in fair(near.counts.numpy() + 1, 2**14)])
    return torch.from_numpy(holder)


@compiled
def _find(values: np.ndarray, rows: np.ndarray, counts: np.ndarray, holder: np.ndarray, first: int, last: int) -> None:
    channels = values.shape[1]
    best = np.empty(channels, np.float32)
    for q in range(first, last):
        start = rows[q, 0]
        for c in range(channels):
            best[c] = values[start, c]
            holder[q, c] = start
        for slot in range(1, counts[q]):
            row = rows[q, slot]
            for c in range(channels):
                if values[row, c] > best[c]:
                    best[c] = values[row, c]
                    holder[q, c] = row


class _Pick(torch.autograd.Function):
    """``values`` (N, C) at the row of each channel; gradients add up in the order of the queries."""

    @staticmethod
    def forward(ctx, values: Tensor, holder: Tensor) -> Tensor:
        ctx.save_for_backward(holder)
        ctx.number = len(values)
        return values.gather(0, holder)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (holder,) = ctx.saved_tensors
        channels = gradient.shape[1]
        flat = holder * channels + torch.arange(channels, device=holder.device)
        summed = scatter_sum(gradient.reshape(-1, 1), flat.view(-1), ctx.number * channels)
        return summed.view(ctx.number, channels), None
