"""Sparse convolution layers. Weights are (out, kz, ky, kx, in), or (out, ky, kx, in) in two dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perception.errors import PerceptionError
from perception.sparse.engines import convolve
from perception.sparse.neighbours import NeighbourTable, strided_table, submanifold_table, transposed_table
from perception.sparse.sites import Sites
from perception.sparse.tensor import SparseTensor

Size = int | Sequence[int]


def axes(value: Size, dimension: int) -> tuple[int, ...]:
    """One number for all axes, or one for each in the order z y x."""
    values = (value,) * dimension if isinstance(value, int) else tuple(value)
    if len(values) != dimension:
        raise PerceptionError(f"{values} for {dimension} dimensions", f"one number or {dimension}")
    return values


class _SparseConv(nn.Module):
    """Weight, bias and the multiplication; the subclasses differ in the table."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Size, dilation: Size = 1, bias: bool = False, dimension: int = 3
    ) -> None:
        super().__init__()
        self.kernel = axes(kernel, dimension)
        self.dilation = axes(dilation, dimension)
        self.weight = nn.Parameter(torch.empty(outputs, *self.kernel, inputs))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None
        bound = 1 / math.sqrt(inputs * math.prod(self.kernel))
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[-1]} -> {len(self.weight)}, kernel {self.kernel}, bias {self.bias is not None}"

    def _apply_table(self, features: Tensor, table: NeighbourTable) -> SparseTensor:
        if features.shape[1] != self.weight.shape[-1]:
            raise PerceptionError(
                f"{features.shape[1]} channels", f"{self.weight.shape[-1]}, as the layer was made for"
            )
        output = convolve(features, self.weight.flatten(1, -2), table)
        return SparseTensor(output if self.bias is None else output + self.bias, table.output)


class SubmanifoldConv(_SparseConv):
    """Convolution whose outputs stay at the input's sites (Graham et al. 2018)."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        return self._apply_table(x.features, submanifold_table(x.sites, self.kernel, self.dilation))


class SparseConv(_SparseConv):
    """Convolution with stride: outputs at every cell that an input reaches."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        bias: bool = False,
        dimension: int = 3,
    ) -> None:
        super().__init__(inputs, outputs, kernel, dilation, bias, dimension)
        self.stride = axes(stride, dimension)
        self.padding = axes(padding, dimension)

    def table(self, sites: Sites) -> NeighbourTable:
        """The pairs of this layer from the given sites; an inverse convolution uses them backwards."""
        return strided_table(sites, self.kernel, self.stride, self.padding, self.dilation)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return self._apply_table(x.features, self.table(x.sites))


class InverseConv(_SparseConv):
    """Undoes the geometry of one SparseConv: from its outputs back to exactly the sites it started from."""

    def forward(self, x: SparseTensor, encoder: SparseConv, sites: Sites) -> SparseTensor:
        """``encoder`` is the layer to undo and ``sites`` what it was applied to."""
        table = encoder.table(sites)
        if encoder.kernel != self.kernel:
            raise PerceptionError(f"a kernel of {self.kernel}", f"{encoder.kernel}, that of the layer it undoes")
        if table.output is not x.sites:
            raise PerceptionError("features on other sites than the encoder's outputs", "what that layer returned")
        key = ("inverse", encoder.kernel, encoder.stride, encoder.padding, encoder.dilation)
        if key not in sites.tables:
            sites.tables[key] = table.swapped(sites)
        return self._apply_table(x.features, sites.tables[key])


class TransposedConv(_SparseConv):
    """Transposed convolution: the grid grows, outputs at every cell that an input reaches."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        output_padding: Size = 0,
        bias: bool = False,
        dimension: int = 3,
    ) -> None:
        super().__init__(inputs, outputs, kernel, dilation, bias, dimension)
        self.stride = axes(stride, dimension)
        self.padding = axes(padding, dimension)
        self.output_padding = axes(output_padding, dimension)

    def forward(self, x: SparseTensor) -> SparseTensor:
        table = transposed_table(x.sites, self.kernel, self.stride, self.padding, self.dilation, self.output_padding)
        return self._apply_table(x.features, table)
