"""Means and maxima of rows by group, in operators that every runtime has."""

from __future__ import annotations

import torch
from torch import Tensor


def group_mean(values: Tensor, group: Tensor, count: Tensor) -> Tensor:
    """Mean (M, C) of the rows (N, C) of each group (N,); ``count`` (M, 1) as of ``group_count``."""
    sums = (
        torch.zeros_like(count)
        .expand(-1, values.shape[1])
        .scatter_reduce(0, group[:, None].expand(-1, values.shape[1]), values, "sum")
    )
    return sums / count.clamp(min=1)


def group_count(group: Tensor, groups: Tensor) -> Tensor:
    """Rows of each group (M, 1) float32; ``groups`` is any tensor with M rows."""
    none = torch.zeros((groups.shape[0], 1))
    return none.scatter_reduce(0, group[:, None], torch.ones((group.shape[0], 1)), "sum")


def group_max(values: Tensor, group: Tensor, groups: Tensor) -> Tensor:
    """Maximum (M, C) of the rows (N, C), none of them negative, of each group; zero for a group without rows."""
    none = torch.zeros((groups.shape[0], values.shape[1]))
    return none.scatter_reduce(0, group[:, None].expand(-1, values.shape[1]), values, "amax")
