"""Reductions of point rows into groups, differentiable, for any number of rows."""

from __future__ import annotations

from torch import Tensor


def scatter_sum(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Sum of the rows (N, C) of each group: (groups, C); ``group`` (N,) int64. Groups without rows are zero."""
    return values.new_zeros((groups, values.shape[1])).index_add(0, group, values)


def scatter_mean(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Mean of the rows of each group: (groups, C)."""
    counts = group.bincount(minlength=groups).clamp(min=1)
    return scatter_sum(values, group, groups) / counts[:, None]


def scatter_max(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Largest of the rows of each group, channel by channel: (groups, C)."""
    index = group[:, None].expand_as(values)
    return values.new_zeros((groups, values.shape[1])).scatter_reduce(0, index, values, "amax", include_self=False)
