"""Sparse convolution in plain torch on any device: the oracle for every other engine."""

from __future__ import annotations

from torch import Tensor

from perception.sparse.neighbours import NeighbourTable


def convolve(features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    """Gather, multiply and add tap by tap: features (N, C_in), weight (C_out, K, C_in) -> (M, C_out).

    Within one tap no output row occurs twice, and taps follow each other, so sums have one order whatever the number
    of threads. Under autocast products are in the low precision and sums in that of the features.
    """
    output = features.new_zeros((table.outputs, len(weight)))
    for tap, (inputs, outputs) in enumerate(table.pairs):
        if len(inputs):
            product = features.index_select(0, inputs) @ weight[:, tap].T
            output = output.index_add_(0, outputs, product.to(output.dtype))
    return output
