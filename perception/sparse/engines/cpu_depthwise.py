"""Depthwise sparse convolution on the CPU: no products of matrices, so plain loops reach the speed of memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from perception.compiled import compiled
from perception.sparse.engines.cpu import as_array
from perception.sparse.engines.gradients import Loops, differentiable
from perception.sparse.pairs import BlockedPairs
from perception.sparse.table import NeighbourTable
from perception.threads import fair, run_shares

_WORTH_A_THREAD = 200_000


def convolve_depthwise(features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    """Features (N, C), weight (C, K) -> (M, C), differentiable in both; the same bits for any number of threads."""
    return differentiable(features, weight, table, _LOOPS)


def _forward(features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    return _product(features, weight, table.blocks(1), table.outputs)


def _of_features(gradient: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    taps = weight.flip(1) if table.mirrored else weight
    return _product(gradient, taps, (table if table.mirrored else table.adjoint).blocks(1), table.inputs)


def _of_weight(features: Tensor, gradient: Tensor, table: NeighbourTable) -> Tensor:
    return _weight_gradient(features, gradient, table.blocks(1))


_LOOPS = Loops(_forward, _of_features, _of_weight)


def _product(x: Tensor, weight: Tensor, pairs: BlockedPairs, outputs: int) -> Tensor:
    source, taps = as_array(x), as_array(weight.T)
    target = np.zeros((outputs, source.shape[1]), source.dtype)
    shares = fair(pairs.work * source.shape[1], _WORTH_A_THREAD)
    run_shares(_multiply, [(source, taps, target, pairs.of, pairs.to, pairs.ends, *share) for share in shares])
    return torch.from_numpy(target).to(x.dtype)


def _weight_gradient(x: Tensor, gradient: Tensor, pairs: BlockedPairs) -> Tensor:
    source, given = as_array(x), as_array(gradient)
    total = np.zeros((pairs.counts.shape[1], source.shape[1]), source.dtype)
    work = pairs.pairs_a_tap
    shares = fair(work * source.shape[1], _WORTH_A_THREAD)
    run_shares(_correlate, [(source, given, total, pairs.of, pairs.to, pairs.ends, *share) for share in shares])
    return torch.from_numpy(total).T


@compiled
def _multiply(
    x: np.ndarray,
    taps: np.ndarray,
    y: np.ndarray,
    of: np.ndarray,
    to: np.ndarray,
    ends: np.ndarray,
    first: int,
    last: int,
) -> None:
    for block in range(first, last):
        for tap in range(len(taps)):
            for pair in range(ends[block, tap], ends[block, tap + 1]):
                source, target = of[pair], to[pair]
                for channel in range(x.shape[1]):
                    y[target, channel] += x[source, channel] * taps[tap, channel]


@compiled
def _correlate(
    x: np.ndarray,
    gradient: np.ndarray,
    total: np.ndarray,
    of: np.ndarray,
    to: np.ndarray,
    ends: np.ndarray,
    first: int,
    last: int,
) -> None:
    for tap in range(first, last):
        for block in range(len(ends)):
            for pair in range(ends[block, tap], ends[block, tap + 1]):
                source, target = of[pair], to[pair]
                for channel in range(x.shape[1]):
                    total[tap, channel] += x[source, channel] * gradient[target, channel]
