"""Depthwise sparse convolution on the CPU: no products of matrices, so plain loops reach the speed of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from perception.compiled import compiled
from perception.sparse.pairs import BlockedPairs
from perception.sparse.table import NeighbourTable
from perception.threads import fair, run_shares

_WORTH_A_THREAD = 200_000


def convolve_depthwise(features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    """Features (N, C), weight (C, K) -> (M, C), differentiable in both; the same bits for any number of threads."""
    result: Tensor = _Depthwise.apply(features, weight, table)
    return result


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.table = table
        return _product(features, weight, table.blocks(1), table.outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, weight = ctx.saved_tensors
        table: NeighbourTable = ctx.table
        of_features, of_weight = None, None
        if ctx.needs_input_grad[0]:
            taps = weight.flip(1) if table.mirrored else weight
            pairs = (table if table.mirrored else table.adjoint).blocks(1)
            of_features = _product(gradient, taps, pairs, table.inputs)
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(features, gradient, table.blocks(1)).to(weight.dtype)
        return of_features, of_weight, None


def _array(values: Tensor) -> np.ndarray:
    kept = values.detach() if values.dtype == torch.float64 else values.detach().float()
    return kept.contiguous().numpy()


def _product(x: Tensor, weight: Tensor, pairs: BlockedPairs, outputs: int) -> Tensor:
    source, taps = _array(x), _array(weight.T)
    target = np.zeros((outputs, source.shape[1]), source.dtype)
    shares = fair(pairs.work * source.shape[1], _WORTH_A_THREAD)
    run_shares(_multiply, [(source, taps, target, pairs.of, pairs.to, pairs.ends, *share) for share in shares])
    return torch.from_numpy(target).to(x.dtype)


def _weight_gradient(x: Tensor, gradient: Tensor, pairs: BlockedPairs) -> Tensor:
    source, given = _array(x), _array(gradient)
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
