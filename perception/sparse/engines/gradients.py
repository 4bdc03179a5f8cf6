"""The derivative of a sparse convolution, the same for every engine that has three loops for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from perception.sparse.table import NeighbourTable

Loop = Callable[[Tensor, Tensor, NeighbourTable], Tensor]


class Loops(NamedTuple):
    """``forward`` (features, weight, table) -> output; ``of_features`` (gradient, weight, table) and ``of_weight``
    (features, gradient, table) the gradients of the two."""

    forward: Loop
    of_features: Loop
    of_weight: Loop


def differentiable(features: Tensor, weight: Tensor, table: NeighbourTable, loops: Loops) -> Tensor:
    """The convolution by these loops, differentiable once in features and weight."""
    result: Tensor = _Convolution.apply(features, weight, table, loops)
    return result


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, table: NeighbourTable, loops: Loops) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.table, ctx.loops = table, loops
        return loops.forward(features, weight, table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        features, weight = ctx.saved_tensors
        of_features, of_weight = None, None
        if ctx.needs_input_grad[0]:
            of_features = ctx.loops.of_features(gradient, weight, ctx.table)
        if ctx.needs_input_grad[1]:
            of_weight = ctx.loops.of_weight(features, gradient, ctx.table).to(weight.dtype)
        return of_features, of_weight, None, None
