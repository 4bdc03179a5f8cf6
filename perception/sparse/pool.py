"""Pooling of sparse tensors. Only occupied cells count: an empty cell is no zero, it is not there.

Output sites are those of a strided convolution with the same kernel (spconv's dialect), taps in the order of (z, y, x).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from perception.errors import PerceptionError
from perception.sparse.conv import Size, axes
from perception.sparse.neighbours import strided_table
from perception.sparse.scatter import scatter_max, scatter_mean
from perception.sparse.table import NeighbourTable
from perception.sparse.tensor import SparseTensor


def max_pool(
    x: SparseTensor, kernel: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1
) -> SparseTensor:
    """Maximum of the occupied cells under each output cell; ``stride`` is the kernel's size unless given.

    The gradient goes to the first tap that holds the maximum.
    """
    table = _table(x, kernel, stride, padding, dilation)
    return SparseTensor(table_max(x.features, table), table.leads_to(x.sites))


def mean_pool(
    x: SparseTensor, kernel: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1
) -> SparseTensor:
    """Mean of the occupied cells under each output cell, as MinkowskiEngine and spconv count."""
    table = _table(x, kernel, stride, padding, dilation)
    return SparseTensor(table_mean(x.features, table), table.leads_to(x.sites))


def global_max(x: SparseTensor) -> Tensor:
    """Maximum over each sample (batch, C); zero for a sample without cells."""
    return scatter_max(x.features, x.coordinates[:, 0].long(), x.sites.batch_size)


def global_mean(x: SparseTensor) -> Tensor:
    """Mean over each sample (batch, C); zero for a sample without cells."""
    return scatter_mean(x.features, x.coordinates[:, 0].long(), x.sites.batch_size)


def table_max(features: Tensor, table: NeighbourTable) -> Tensor:
    """Maximum over the taps of any table that leads to each output: features (N, C) -> (M, C)."""
    fixed = features.detach()
    top = fixed.new_zeros((table.outputs, fixed.shape[1]))
    winner = torch.full(top.shape, -1, dtype=torch.int32, device=top.device)
    for tap, (inputs, outputs) in enumerate(table.pairs):
        value, best, holder = fixed.index_select(0, inputs), top[outputs], winner[outputs]
        better = (holder < 0) | (value > best) | (value.isnan() & ~best.isnan())
        top[outputs] = torch.where(better, value, best)
        winner[outputs] = torch.where(better, tap, holder)
    if not (torch.is_grad_enabled() and features.requires_grad):
        return top
    # Once more with gradients: within one tap no row occurs twice, so every sum has one order.
    output = features.new_zeros(top.shape)
    for tap, (inputs, outputs) in enumerate(table.pairs):
        chosen = winner[outputs] == tap
        output = output.index_add(0, outputs, torch.where(chosen, features.index_select(0, inputs), 0))
    return output


def table_mean(features: Tensor, table: NeighbourTable) -> Tensor:
    """Mean over the taps of any table that lead to each output: features (N, C) -> (M, C)."""
    output = features.new_zeros((table.outputs, features.shape[1]))
    for inputs, outputs in table.pairs:
        output = output.index_add(0, outputs, features.index_select(0, inputs))
    return output / (table.rows >= 0).sum(0).clamp(min=1)[:, None]


class _Pool(nn.Module):
    def __init__(self, kernel: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding, self.dilation = kernel, stride, padding, dilation

    def extra_repr(self) -> str:
        return f"kernel {self.kernel}, stride {self.stride or self.kernel}, padding {self.padding}"


class MaxPool(_Pool):
    """``max_pool`` as a layer."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        return max_pool(x, self.kernel, self.stride, self.padding, self.dilation)


class MeanPool(_Pool):
    """``mean_pool`` as a layer."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        return mean_pool(x, self.kernel, self.stride, self.padding, self.dilation)


class GlobalPool(nn.Module):
    """One vector a sample, (batch, C): the ``max`` or the ``mean`` of its cells."""

    def __init__(self, kind: Literal["max", "mean"]) -> None:
        super().__init__()
        if kind not in ("max", "mean"):
            raise PerceptionError(f"global pooling of the kind {kind!r}", "'max' or 'mean'")
        self.kind = kind

    def extra_repr(self) -> str:
        return self.kind

    def forward(self, x: SparseTensor) -> Tensor:
        return global_max(x) if self.kind == "max" else global_mean(x)


def _table(x: SparseTensor, kernel: Size, stride: Size | None, padding: Size, dilation: Size) -> NeighbourTable:
    dimension = x.sites.dimension
    sizes = [axes(size, dimension) for size in (kernel, kernel if stride is None else stride, padding, dilation)]
    if min(sizes[0] + sizes[1] + sizes[3]) < 1 or min(sizes[2]) < 0:
        raise PerceptionError(
            f"a pool with kernel, stride, padding and dilation {sizes}", "positive numbers, padding from zero up"
        )
    return strided_table(x.sites, *sizes)
