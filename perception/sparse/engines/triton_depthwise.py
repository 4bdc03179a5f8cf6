"""Depthwise sparse convolution on CUDA GPUs in Triton: features in float32, float16 or bfloat16, sums in float32."""

from __future__ import annotations

import importlib
from types import ModuleType

import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.sparse.engines import triton as engine
from perception.sparse.engines.gradients import Loops, differentiable
from perception.sparse.table import NeighbourTable

ROWS, LARGEST_COLUMNS, ROWS_A_SPLIT = 32, 128, 1024


def convolve_depthwise(features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    """Features (N, C), weight (C, K) -> (M, C), differentiable in both; the same bits at every run."""
    engine.check_place(features, weight, table)
    wanted = (table.inputs, len(table.rows), features.shape[1])
    if (len(features), weight.shape[1], weight.shape[0]) != wanted:
        raise PerceptionError(
            f"features {tuple(features.shape)} and weights {tuple(weight.shape)}",
            f"{table.inputs} rows, {len(table.rows)} taps and as many channels in both",
        )
    return differentiable(features, weight, table, _LOOPS)


def _forward(features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    return _product(features, weight, table.rows)


def _of_features(gradient: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    rows = table.rows if table.mirrored else table.adjoint.rows
    return _product(gradient, weight, rows, backwards=table.mirrored)


def _of_weight(features: Tensor, gradient: Tensor, table: NeighbourTable) -> Tensor:
    taps, outputs, channels = len(table.rows), table.outputs, features.shape[1]
    splits = -(-outputs // ROWS_A_SPLIT)
    partial = torch.empty((splits, taps, channels), dtype=torch.float32, device=features.device)
    if splits:
        columns = _columns(channels)
        with engine.on(features.device):
            kernels().correlate[(taps, splits, -(-channels // columns))](
                features.contiguous(), gradient.contiguous(), table.rows.contiguous(), partial,
                outputs, taps, channels, ROWS_A_SPLIT, ROWS=ROWS, COLUMNS=columns,
            )  # fmt: skip
    return partial.sum(0).T


_LOOPS = Loops(_forward, _of_features, _of_weight)


def _product(x: Tensor, weight: Tensor, rows: Tensor, backwards: bool = False) -> Tensor:
    taps, outputs, channels = len(rows), rows.shape[1], x.shape[1]
    y = x.new_empty((outputs, channels))
    if not y.numel():
        return y
    columns = _columns(channels)
    first, step = ((taps - 1) * channels, -channels) if backwards else (0, channels)
    with engine.on(x.device):
        kernels().gather_scale[(-(-outputs // ROWS), -(-channels // columns))](
            x.contiguous(), weight.T.contiguous(), rows.contiguous(), y,
            outputs, taps, channels, first, step, ROWS=ROWS, COLUMNS=columns,
        )  # fmt: skip
    return y


def _columns(channels: int) -> int:
    """Channels of a tile: a power of two, as Triton asks."""
    return min(max(1 << (channels - 1).bit_length(), 16), LARGEST_COLUMNS)


def kernels() -> ModuleType:
    """The compiled loops; raises PerceptionError where Triton is missing."""
    engine.kernels()
    return importlib.import_module("perception.sparse.engines.triton_depthwise_kernels")
