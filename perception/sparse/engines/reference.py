"""Sparse convolution in plain torch on any device: the oracle for every other engine."""

from __future__ import annotations

import torch
from torch import Tensor

from perception.sparse.table import NeighbourTable


def convolve(features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    """Gather, multiply and add tap by tap: features (N, C_in), weight (C_out, K, C_in) -> (M, C_out).

    Within one tap no output row occurs twice, and taps follow each other, so sums have one order whatever the number
    of threads. Half precision is multiplied and summed in float32, then rounded once.
    """
    exact = torch.promote_types(features.dtype, torch.float32)
    output = torch.zeros((table.outputs, len(weight)), dtype=exact, device=features.device)
    for tap, (inputs, outputs) in enumerate(table.pairs):
        product = features.index_select(0, inputs).to(exact) @ weight[:, tap].T.to(exact)
        output = output.index_add_(0, outputs, product)
    return output.to(features.dtype)


def convolve_depthwise(features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    """Every channel by itself: features (N, C), weight (C, K) -> (M, C)."""
    exact = torch.promote_types(features.dtype, torch.float32)
    output = torch.zeros((table.outputs, features.shape[1]), dtype=exact, device=features.device)
    for tap, (inputs, outputs) in enumerate(table.pairs):
        product = features.index_select(0, inputs).to(exact) * weight[:, tap].to(exact)
        output = output.index_add_(0, outputs, product)
    return output.to(features.dtype)
