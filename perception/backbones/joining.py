"""The sums of a U-Net's joins in one pass over memory, for use without gradients; each has its plain form beside it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from perception.compiled import compiled
from perception.threads import fair, run_shares

_WORTH_A_THREAD = 2**18


def join(below: Tensor, level: Tensor, branch: Tensor) -> Tensor:
    """``below`` beside the end of a residual block, relu(level + branch), all (N, C): (N, 2 C)."""
    if not _compiled(below, level, branch):
        return plain_join(below, level, branch)
    joined = torch.empty((len(below), 2 * below.shape[1]))
    _run(_join, len(below), below.shape[1], below.numpy(), level.numpy(), branch.numpy(), joined.numpy())
    return joined


def plain_join(below: Tensor, level: Tensor, branch: Tensor) -> Tensor:
    """``join`` on any device, differentiable."""
    return torch.cat([below, torch.relu(level + branch)], 1)


def add_folded(merged: Tensor, joined: Tensor) -> Tensor:
    """``merged`` (N, C) plus the sums of neighbouring channels of ``joined`` (N, 2 C).

    The compiled form adds in place: ``merged`` must be the caller's own.
    """
    if not _compiled(merged, joined):
        return plain_add_folded(merged, joined)
    _run(_add_folded, len(merged), merged.shape[1], merged.numpy(), joined.numpy())
    return merged


def plain_add_folded(merged: Tensor, joined: Tensor) -> Tensor:
    """``add_folded`` on any device, differentiable, without changing ``merged``."""
    return merged + (joined[:, 0::2] + joined[:, 1::2])


def _compiled(*values: Tensor) -> bool:
    if torch.is_grad_enabled():
        return False
    return all(v.device.type == "cpu" and v.dtype == torch.float32 and v.is_contiguous() for v in values)


def _run(kernel: Callable[..., None], rows: int, channels: int, *arrays: np.ndarray) -> None:
    shares = fair(np.broadcast_to(channels, rows), _WORTH_A_THREAD)
    run_shares(kernel, [(*arrays, *share) for share in shares])


@compiled
def _join(below: np.ndarray, level: np.ndarray, branch: np.ndarray, joined: np.ndarray, first: int, last: int) -> None:
    channels = below.shape[1]
    zero = np.float32(0)
    for row in range(first, last):
        for c in range(channels):
            joined[row, c] = below[row, c]
        for c in range(channels):
            value = level[row, c] + branch[row, c]
            joined[row, channels + c] = value if not value < zero else zero  # a NaN stays one, as in torch


@compiled
def _add_folded(merged: np.ndarray, joined: np.ndarray, first: int, last: int) -> None:
    for row in range(first, last):
        for c in range(merged.shape[1]):
            merged[row, c] += joined[row, 2 * c] + joined[row, 2 * c + 1]
