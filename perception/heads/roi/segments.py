"""Rows in pairs with queries, and the maximum over the run of rows of each query."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from perception.compiled import compiled
from perception.sparse.scatter import scatter_max
from perception.threads import fair, run_shares


def segment_max(values: Tensor, lengths: Tensor) -> Tensor:
    """(M, C): the maximum of the next ``lengths[i]`` rows of ``values`` (N, C) for each i; 0 for none of them."""
    gradient = torch.is_grad_enabled() and values.requires_grad
    if gradient or values.device.type != "cpu" or values.dtype != torch.float32:
        return plain_segment_max(values, lengths)
    largest = np.zeros((len(lengths), values.shape[1]), np.float32)
    counts = lengths.numpy()
    arrays = (np.ascontiguousarray(values.detach().numpy()), counts.cumsum() - counts, counts, largest)
    run_shares(_largest, [(*arrays, *share) for share in fair(counts + 1, 2**14)])
    return torch.from_numpy(largest)


def plain_segment_max(values: Tensor, lengths: Tensor) -> Tensor:
    """``segment_max`` on any device, differentiable."""
    group = torch.arange(len(lengths), device=values.device).repeat_interleave(lengths)
    return scatter_max(values, group, len(lengths))


def paired_relu(here: Tensor, there: Tensor, row: Tensor, query: Tensor) -> Tensor:
    """ReLU(here[row] - there[query]) (P, C) of all pairs; without gradients."""
    if here.device.type != "cpu" or here.dtype != torch.float32:
        return plain_paired_relu(here, there, row, query)
    values = np.empty((len(row), here.shape[1]), np.float32)
    arrays = [np.ascontiguousarray(part.detach().numpy()) for part in (here, there, row, query)]
    run_shares(_pair, [(*arrays, values, *share) for share in fair(np.ones(len(row)), 2**14)])
    return torch.from_numpy(values)


def plain_paired_relu(here: Tensor, there: Tensor, row: Tensor, query: Tensor) -> Tensor:
    """``paired_relu`` on any device."""
    return (here[row] - there[query]).relu_()


@compiled
def _pair(
    here: np.ndarray,
    there: np.ndarray,
    row: np.ndarray,
    query: np.ndarray,
    values: np.ndarray,
    first: int,
    last: int,
) -> None:
    zero = np.float32(0)
    for i in range(first, last):
        a, b = here[row[i]], there[query[i]]
        for c in range(values.shape[1]):
            values[i, c] = max(a[c] - b[c], zero)


@compiled
def _largest(
    values: np.ndarray, starts: np.ndarray, lengths: np.ndarray, largest: np.ndarray, first: int, last: int
) -> None:
    for i in range(first, last):
        if not lengths[i]:
            continue
        for c in range(values.shape[1]):
            largest[i, c] = values[starts[i], c]
        for row in range(starts[i] + 1, starts[i] + lengths[i]):
            for c in range(values.shape[1]):
                largest[i, c] = max(largest[i, c], values[row, c])
