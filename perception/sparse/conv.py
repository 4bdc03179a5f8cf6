"""Sparse convolution layers. Weights are (out, kz, ky, kx, in), or (out, ky, kx, in) in two dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from perception.errors import PerceptionError
from perception.sparse.engines import convolve, convolve_depthwise, convolve_fused
from perception.sparse.neighbours import coarsened_table, strided_table, submanifold_table, transposed_table
from perception.sparse.sites import Sites
from perception.sparse.table import NeighbourTable
from perception.sparse.tensor import SparseTensor

Size = int | Sequence[int]
Dialect = Literal["spconv", "minkowski"]


def axes(value: Size, dimension: int) -> tuple[int, ...]:
    """One number for all axes, or one for each in the order z y x."""
    values = (value,) * dimension if isinstance(value, int) else tuple(value)
    if len(values) != dimension:
        raise PerceptionError(f"{values} for {dimension} dimensions", f"one number or {dimension}")
    return values


class SparseLayer(nn.Module):
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

    def table(self, sites: Sites) -> NeighbourTable:
        """The pairs of this layer from the given sites; made once and shared by all layers that need the same."""
        raise NotImplementedError

    def taps(self) -> Tensor:
        """The weight as engines take it: (out, K, in)."""
        return self.weight.flatten(1, -2)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return self._multiply(x.features, self.table(x.sites), x.sites)

    def fused(self, x: SparseTensor, scale: Tensor, shift: Tensor, rectify: bool) -> SparseTensor:
        """The layer, times ``scale`` plus ``shift`` (out,), and ReLU if ``rectify``, in one pass without gradients."""
        self._check(x.features)
        if self.bias is not None:
            shift = shift + self.bias * scale
        table = self.table(x.sites)
        output = convolve_fused(x.features, self.taps(), table, scale, shift, rectify)
        return SparseTensor(output, table.leads_to(x.sites))

    def _multiply(self, features: Tensor, table: NeighbourTable, sites: Sites) -> SparseTensor:
        self._check(features)
        output = convolve(features, self.taps(), table)
        if self.bias is not None:
            output = output + self.bias.to(output.dtype)
        return SparseTensor(output, table.leads_to(sites))

    def _check(self, features: Tensor) -> None:
        if features.shape[1] != self.weight.shape[-1]:
            raise PerceptionError(
                f"{features.shape[1]} channels", f"{self.weight.shape[-1]}, as the layer was made for"
            )


class SubmanifoldConv(SparseLayer):
    """Convolution whose outputs stay at the input's sites (Graham et al. 2018).

    ``mirrored`` reads the kernel from its far end, as MinkowskiEngine's transposed convolution of stride 1 does.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Size,
        dilation: Size = 1,
        bias: bool = False,
        dimension: int = 3,
        mirrored: bool = False,
    ) -> None:
        super().__init__(inputs, outputs, kernel, dilation, bias, dimension)
        self.mirrored = mirrored

    def table(self, sites: Sites) -> NeighbourTable:
        return submanifold_table(sites, self.kernel, self.dilation)

    def taps(self) -> Tensor:
        taps = super().taps()
        return taps.flip(1) if self.mirrored else taps


class DepthwiseConv(nn.Module):
    """Submanifold convolution of each channel by itself; weight (channels, kz, ky, kx)."""

    def __init__(self, channels: int, kernel: Size, dilation: Size = 1, bias: bool = False, dimension: int = 3) -> None:
        super().__init__()
        self.kernel, self.dilation = axes(kernel, dimension), axes(dilation, dimension)
        self.weight = nn.Parameter(torch.empty(channels, *self.kernel))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None
        nn.init.uniform_(self.weight, -1 / math.sqrt(math.prod(self.kernel)), 1 / math.sqrt(math.prod(self.kernel)))

    def forward(self, x: SparseTensor) -> SparseTensor:
        if x.channels != len(self.weight):
            raise PerceptionError(f"{x.channels} channels", f"{len(self.weight)}, as the layer was made for")
        table = submanifold_table(x.sites, self.kernel, self.dilation)
        output = convolve_depthwise(x.features, self.weight.flatten(1), table)
        return x.with_features(output if self.bias is None else output + self.bias.to(output.dtype))


class SparseConv(SparseLayer):
    """Convolution with stride. The dialect says where it answers.

    ``spconv``: at every cell that an input reaches. ``minkowski``: at the cells of the coarser grid that hold an input;
    its kernels are centred, so there is no padding.
    """

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
        dialect: Dialect = "spconv",
    ) -> None:
        super().__init__(inputs, outputs, kernel, dilation, bias, dimension)
        self.stride = axes(stride, dimension)
        self.padding = axes(padding, dimension)
        self.dialect = dialect
        if dialect == "minkowski" and any(self.padding):
            raise PerceptionError(f"padding {self.padding} in MinkowskiEngine's dialect", "0: kernels are centred")

    def table(self, sites: Sites) -> NeighbourTable:
        if self.dialect == "minkowski":
            return coarsened_table(sites, self.kernel, self.stride, self.dilation)
        return strided_table(sites, self.kernel, self.stride, self.padding, self.dilation)


class InverseConv(SparseLayer):
    """Undoes the geometry of one SparseConv: from its outputs back to exactly the sites it started from.

    In MinkowskiEngine's dialect this is the transposed convolution onto the sites of the encoder.
    """

    def forward(self, x: SparseTensor, encoder: SparseConv, sites: Sites) -> SparseTensor:  # type: ignore[override]
        """``encoder`` is the layer to undo and ``sites`` what it was applied to."""
        if encoder.kernel != self.kernel:
            raise PerceptionError(f"a kernel of {self.kernel}", f"{encoder.kernel}, that of the layer it undoes")
        table = encoder.table(sites)
        if table.output is not x.sites:
            raise PerceptionError("features on other sites than the encoder's outputs", "what that layer returned")
        return self._multiply(x.features, table.adjoint, sites)


class TransposedConv(SparseLayer):
    """Transposed convolution: the grid grows, outputs at every cell that an input reaches (generative)."""

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

    def table(self, sites: Sites) -> NeighbourTable:
        return transposed_table(sites, self.kernel, self.stride, self.padding, self.dilation, self.output_padding)
