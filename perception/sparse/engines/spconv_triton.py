"""Adapter for an installed spconv-triton (1.0): our tables are its gather tables as they are.

It has not been run on a GPU yet: values and gradients have been held to the reference with its kernels in Triton's
interpreter. CUDA tensors only, as its kernels are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perception.sparse.engines.spconv import check, package
from perception.sparse.table import NeighbourTable

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def convolve(features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    """Features (N, C_in), weight (C_out, K, C_in) -> (M, C_out), differentiable in both."""
    check("spconv-triton", features, DTYPES)
    functional = package("spconv_triton.pytorch.functional", "spconv-triton")
    training = torch.is_grad_enabled() and (features.requires_grad or weight.requires_grad)
    adjoint = table.rows
    if training:  # the table of gradients, its taps numbered as in the forward one
        adjoint = table.rows.flip(0) if table.mirrored else table.adjoint.rows
    # The four empty lists are masks of sorted rows, an optimisation that a table without them does without.
    result: Tensor = functional.SparseImplicitGemmFunction.apply(
        features, weight, table.rows, adjoint, [], [], [], [], table.outputs, [], training, False
    )
    return result
