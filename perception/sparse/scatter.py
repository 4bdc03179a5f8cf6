"""Reductions of rows into groups, and the way back, differentiable, for any number of rows and any device.

Sums have one order, that of the rows: the same input gives the same bits whatever the number of threads. On a GPU rows
are sorted by group first, because atomic additions come in another order each run. A maximum has no order to lose.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perception.errors import PerceptionError

# Rows that one GPU thread adds up: longer groups (all rows of a sample) are summed in pieces, then the pieces.
PIECE = 256


def gather_rows(values: Tensor, rows: Tensor) -> Tensor:
    """Rows (N, C) of ``values`` (M, C) at ``rows`` (N,) int64; row numbers may repeat.

    Unlike ``values[rows]``, whose gradient torch adds up in parallel in no defined order, the gradient is a
    ``scatter_sum`` and the same bits every time.
    """
    _check(rows, len(values))
    return _Gather.apply(values, rows)


def scatter_sum(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Sum of the rows (N, C) of each group: (groups, C); ``group`` (N,) int64. Groups without rows are zero."""
    _check(group, groups, values)
    return _Sum.apply(values, group, groups)


def scatter_mean(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Mean of the rows of each group: (groups, C). Groups without rows are zero."""
    sums = scatter_sum(values, group, groups)
    return sums / group.bincount(minlength=groups).clamp(min=1)[:, None]


def scatter_max(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Largest of the rows of each group, channel by channel: (groups, C). Groups without rows are zero.

    The gradient goes to the first row that holds the maximum, as torch.max does it.
    """
    _check(group, groups, values)
    index = group[:, None].expand_as(values)
    fixed = values.detach()
    top = fixed.new_zeros((groups, values.shape[1])).scatter_reduce(0, index, fixed, "amax", include_self=False)
    if not (torch.is_grad_enabled() and values.requires_grad):
        return top
    number = len(values)
    if not number:
        return scatter_sum(values, group, groups)
    holds = (fixed == top.index_select(0, group)) | fixed.isnan()
    candidates = torch.where(holds, torch.arange(number, device=values.device)[:, None], number)
    first = torch.full_like(top, number, dtype=torch.int64).scatter_reduce(0, index, candidates, "amin")
    return torch.where(first < number, values.gather(0, first.clamp(max=number - 1)), 0)


def scatter_min(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Smallest of the rows of each group, as ``scatter_max``."""
    return -scatter_max(-values, group, groups)


def scatter_softmax(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Softmax (N, C) over the rows of each group, channel by channel: the weights of attention in a group."""
    # exp of the distance to the group's maximum cannot overflow; the maximum cancels, so it needs no gradient.
    highest = scatter_max(values.detach(), group, groups)
    powers = (values - highest.index_select(0, group)).exp()
    return powers / gather_rows(scatter_sum(powers, group, groups), group)


def sorted_sum(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """``scatter_sum`` without atomic additions, on any device: sort rows by group, add up runs. Not differentiable."""
    ordered = values.index_select(0, group.sort(stable=True).indices)
    lengths = group.bincount(minlength=groups)
    pieces = (lengths + (PIECE - 1)) // PIECE
    owner = torch.arange(groups, device=group.device).repeat_interleave(pieces)
    place = torch.arange(len(owner), device=group.device) - (pieces.cumsum(0) - pieces)[owner]
    partial = _add_runs(ordered, (lengths[owner] - place * PIECE).clamp(max=PIECE))
    return _add_runs(partial, pieces)


def _add_runs(values: Tensor, lengths: Tensor) -> Tensor:
    if not len(values):
        return values.new_zeros((len(lengths), values.shape[1]))
    return torch.segment_reduce(values, "sum", lengths=lengths, initial=0)


def _add_rows(values: Tensor, group: Tensor, groups: int) -> Tensor:
    # On a CPU index_add follows the rows whatever the number of threads (measured), and whole numbers have no rounding.
    if values.device.type == "cpu" or not values.is_floating_point():
        return values.new_zeros((groups, values.shape[1])).index_add_(0, group, values)
    return sorted_sum(values, group, groups)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, group: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(group)
        return _add_rows(values, group, groups)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _Gather.apply(gradient, ctx.saved_tensors[0]), None, None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.number = len(values)
        return values.index_select(0, rows)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(gradient, ctx.saved_tensors[0], ctx.number), None


def _check(group: Tensor, groups: int, values: Tensor | None = None) -> None:
    if group.ndim != 1 or group.dtype != torch.int64:
        raise PerceptionError(f"row or group numbers of shape {tuple(group.shape)}, {group.dtype}", "(N,) int64")
    if values is not None and (values.ndim != 2 or len(values) != len(group)):
        raise PerceptionError(
            f"values of shape {tuple(values.shape)} with {len(group)} group numbers", f"({len(group)}, channels)"
        )
    if len(group) and group.device.type == "cpu":  # elsewhere looking would wait for the device, and kernels check
        low, high = (int(bound) for bound in group.aminmax())
        if low < 0 or high >= groups:
            raise PerceptionError(
                f"row or group numbers from {low} to {high}",
                f"0 .. {groups - 1}",
                "leave rows that belong nowhere (-1) out first",
            )
