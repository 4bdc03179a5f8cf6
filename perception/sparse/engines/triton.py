"""Sparse convolution on CUDA GPUs in Triton: no CUDA toolchain, no list of pairs, the same bits at every run.

Features and weights in float32, float16 or bfloat16, sums in float32. Float32 is multiplied exactly, or in TF32 where
``torch.backends.cuda.matmul.allow_tf32`` is on. The same bits hold on one GPU model with one choice of tiles
(``triton_blocks``): tuning may change the last bits. CPU tensors work only in Triton's interpreter, for tests.
"""

from __future__ import annotations

import contextlib
import importlib
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.sparse.engines.gradients import Loops, differentiable
from perception.sparse.engines.triton_blocks import Blocks, choose_blocks
from perception.sparse.table import NeighbourTable

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# The gradient of the weights is cut into about so many programs, several for each multiprocessor of any GPU of today,
# but none with fewer rows than fill the pipeline. Both are constants: how a sum is cut must not depend on the GPU.
_PROGRAMS = 1024
_ROWS_A_SPLIT = 1024


def convolve(features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    """Features (N, C_in), weight (C_out, K, C_in) -> (M, C_out), differentiable in both."""
    _check(features, weight, table)
    return differentiable(features, weight, table, _LOOPS)


def convolve_fused(
    features: Tensor, weight: Tensor, table: NeighbourTable, scale: Tensor, shift: Tensor, rectify: bool
) -> Tensor:
    """``convolve(...) * scale + shift``, then ReLU if ``rectify``, in one pass and without gradients.

    The three are in float32 and rounded once, to the dtype of the features.
    """
    _check(features, weight, table)
    taps = weight.detach().to(features.dtype).permute(1, 2, 0)
    return product(features.detach(), taps, table.rows, scale.detach(), shift.detach(), rectify)


def _forward(features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    return product(features, weight.to(features.dtype).permute(1, 2, 0), table.rows)


def _of_features(gradient: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    rows = table.rows if table.mirrored else table.adjoint.rows
    return product(gradient, weight.to(gradient.dtype).permute(1, 0, 2), rows, backwards=table.mirrored)


def _of_weight(features: Tensor, gradient: Tensor, table: NeighbourTable) -> Tensor:
    return weight_gradient(features, gradient, table.rows)


_LOOPS = Loops(_forward, _of_features, _of_weight)


def product(
    x: Tensor,
    taps: Tensor,
    rows: Tensor,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    rectify: bool = False,
    backwards: bool = False,
    blocks: Blocks | None = None,
) -> Tensor:
    """Rows of x (N, depth) that ``rows`` (K, M) names, by taps (K, depth, columns) of any strides -> (M, columns).

    ``backwards`` takes the weights of tap K - 1 - k at tap k.
    """
    kernel, depth, columns = taps.shape
    y = x.new_empty((rows.shape[1], columns))
    if not y.numel():
        return y
    precision = precision_of(x.dtype)
    blocks = blocks or choose_blocks("product", depth, columns, x.dtype, precision, x.device)
    step = taps.stride(0)
    fused = scale is not None and shift is not None
    grid = (-(-len(y) // blocks.rows), -(-columns // blocks.columns))
    with on(x.device):
        kernels().gather_product[grid](
            x.contiguous(),
            taps,
            rows.contiguous(),
            scale.float().contiguous() if scale is not None else y,
            shift.float().contiguous() if shift is not None else y,
            y,
            len(y),
            kernel,
            depth,
            columns,
            (kernel - 1) * step if backwards else 0,
            -step if backwards else step,
            taps.stride(1),
            taps.stride(2),
            FUSED=fused,
            RECTIFY=rectify,
            PRECISION=precision,
            WIDEN=_widen(x.dtype),
            ROWS=blocks.rows,
            DEPTH=blocks.depth,
            COLUMNS=blocks.columns,
            num_warps=blocks.warps,
            num_stages=blocks.stages,
        )
    return y


def weight_gradient(x: Tensor, gradient: Tensor, rows: Tensor, blocks: Blocks | None = None) -> Tensor:
    """x (N, depth), gradient (M, columns), rows (K, M) -> (columns, K, depth) float32: partial sums, then their sum."""
    (kernel, outputs), depth, columns = rows.shape, x.shape[1], gradient.shape[1]
    precision = precision_of(x.dtype)
    blocks = blocks or choose_blocks("outer", depth, columns, x.dtype, precision, x.device)
    tiles = -(-depth // blocks.depth) * -(-columns // blocks.columns)
    rows_a_split = max(-(-outputs // -(-_PROGRAMS // (kernel * tiles))), _ROWS_A_SPLIT)
    splits = -(-outputs // rows_a_split)
    partial = torch.empty((splits, kernel, depth, columns), dtype=torch.float32, device=x.device)
    if splits:
        with on(x.device):
            kernels().outer_product[(kernel, splits, tiles)](
                x.contiguous(),
                gradient.contiguous(),
                rows.contiguous(),
                partial,
                outputs,
                kernel,
                depth,
                columns,
                rows_a_split,
                PRECISION=precision,
                WIDEN=_widen(x.dtype),
                ROWS=blocks.rows,
                DEPTH=blocks.depth,
                COLUMNS=blocks.columns,
                num_warps=blocks.warps,
                num_stages=blocks.stages,
            )
    return partial.sum(0).permute(2, 0, 1)


def kernels() -> ModuleType:
    """The compiled loops; raises PerceptionError where Triton is missing."""
    try:
        return importlib.import_module("perception.sparse.engines.triton_kernels")
    except ImportError as error:
        raise PerceptionError(
            f"the package 'triton' cannot be imported: {error}",
            "Triton, which the sparse engine 'triton' is written in",
            "pip install triton (the CUDA builds of torch for Linux bring it), or choose another engine",
        ) from error


def interpreted() -> bool:
    """Whether the loops run in Triton's interpreter: decided by TRITON_INTERPRET when Triton is first imported."""
    return type(kernels().gather_product).__name__ == "InterpretedFunction"


def precision_of(dtype: torch.dtype) -> str:
    """How tensor cores may multiply: only float32 leaves a choice."""
    if dtype != torch.float32:
        return "ieee"
    matmul = torch.backends.cuda.matmul
    # From torch 2.9 on allow_tf32 cannot be read where the newer setting has been used; that one answers for both.
    newer = getattr(matmul, "fp32_precision", None)
    return "tf32" if (matmul.allow_tf32 if newer is None else newer == "tf32") else "ieee"


def _widen(dtype: torch.dtype) -> bool:
    return dtype == torch.bfloat16 and interpreted()


def on(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Triton launches on the current GPU, whichever the tensors are on."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def _check(features: Tensor, weight: Tensor, table: NeighbourTable) -> None:
    check_place(features, weight, table)
    # A wrong length would read past the end of memory on the GPU, where no one checks.
    wanted = (table.inputs, len(table.rows), weight.shape[2])
    if (len(features), weight.shape[1], features.shape[1]) != wanted:
        raise PerceptionError(
            f"features {tuple(features.shape)} and weights {tuple(weight.shape)}",
            f"{table.inputs} rows, {len(table.rows)} taps and as many channels in both",
        )


def check_place(features: Tensor, weight: Tensor, table: NeighbourTable) -> None:
    """Whether the engine can work with tensors of that type, where they are."""
    if features.device.type == "cpu" and not interpreted():
        raise PerceptionError(
            "features on the CPU for the sparse engine 'triton'",
            "features on a CUDA GPU",
            "leave PERCEPTION_SPARSE_ENGINE unset; for tests set TRITON_INTERPRET=1 before Python starts",
        )
    if features.dtype not in DTYPES:
        raise PerceptionError(
            f"{features.dtype} features for the sparse engine 'triton'",
            "float32, float16 or bfloat16",
            "convert the features, or choose the engine 'reference'",
        )
    if not features.device == weight.device == table.rows.device:
        raise PerceptionError(
            f"features on {features.device}, weights on {weight.device}, a table on {table.rows.device}",
            "all on one device",
        )
