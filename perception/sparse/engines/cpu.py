"""Sparse convolution on the CPU: pairs in blocks, tiles in registers, as many threads as torch has.

The same bits whatever the number of threads: forward and gradient of the features sum the taps of a row in order, and
each tap's gradient of the weights is summed by one thread over blocks of rows in order. Half precision is stored in
halves and summed in float32.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from perception.sparse.engines.cpu_kernels import multiply, outer, pack, padded
from perception.sparse.engines.cpu_tiles import ROWS
from perception.sparse.engines.gradients import Loops, differentiable
from perception.sparse.pairs import ROWS_A_BLOCK, BlockedPairs
from perception.sparse.table import NeighbourTable
from perception.threads import fair, run_shares

# Below so many multiplications a second thread costs more than it brings.
_WORTH_A_THREAD = 1_000_000
_CHANNELS_A_SHARE = 32


def convolve(features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    """Features (N, C_in), weight (C_out, K, C_in) -> (M, C_out), differentiable in both."""
    return differentiable(features, weight, table, _LOOPS)


def convolve_fused(
    features: Tensor, weight: Tensor, table: NeighbourTable, scale: Tensor, shift: Tensor, rectify: bool
) -> Tensor:
    """``convolve(...) * scale + shift``, then ReLU if ``rectify``, in one pass and without gradients."""
    return _product(features, weight.permute(1, 2, 0), table.blocks(ROWS), table.outputs, scale, shift, rectify)


def _forward(features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    return _product(features, weight.permute(1, 2, 0), table.blocks(ROWS), table.outputs)


def _of_features(gradient: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    adjoint, order = (table, -1) if table.mirrored else (table.adjoint, 1)
    return _product(gradient, weight.permute(1, 0, 2), adjoint.blocks(ROWS), table.inputs, order=order)


def _of_weight(features: Tensor, gradient: Tensor, table: NeighbourTable) -> Tensor:
    return _weight_gradient(features, gradient, table.blocks(ROWS))


_LOOPS = Loops(_forward, _of_features, _of_weight)


def as_array(values: Tensor) -> np.ndarray:
    """Contiguous float32, or float64 where that is what there is."""
    kept = values.detach() if values.dtype == torch.float64 else values.detach().float()
    return kept.contiguous().numpy()


def _product(
    x: Tensor,
    weight: Tensor,
    pairs: BlockedPairs,
    outputs: int,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    rectify: bool = False,
    order: int = 1,
) -> Tensor:
    """Features (N, depth) by weight (K, depth, columns) along the pairs; ``order`` -1 reads the taps backwards."""
    source, given = as_array(x), weight.detach().to(x.dtype if x.dtype == torch.float64 else torch.float32).numpy()
    kernel, depth, columns = given.shape
    width, kind = padded(columns), source.dtype
    factor = np.ones(columns, kind) if scale is None else as_array(scale).astype(kind, copy=False)
    packed = np.empty((kernel, depth * width), kind)
    taps = np.arange(kernel)[::order].copy()
    # A grid of one layer meets a third of a cube's taps; the others' weights are not even read.
    met = np.flatnonzero(pairs.pairs_a_tap)[[0, -1]] if pairs.pairs_a_tap.any() else np.zeros(2, np.int64)
    met = np.sort(taps[met])
    pack(given[met[0] : met[1] + 1], factor, packed[met[0] : met[1] + 1])
    start = np.zeros(width, kind)
    if shift is not None:
        start[:columns] = as_array(shift)
    target = torch.empty((outputs + 1, width), dtype=torch.from_numpy(source).dtype)
    target[outputs] = 0
    y = target.numpy()
    work = pairs.work * (depth * width)
    shares = fair(work, _WORTH_A_THREAD)
    common = (source, packed, taps, start, y, pairs.of, pairs.to, pairs.ends, ROWS_A_BLOCK, rectify)
    run_shares(multiply, [(*common, *share) for share in shares])
    return target[:outputs, :columns].to(x.dtype).contiguous()


def _weight_gradient(x: Tensor, gradient: Tensor, pairs: BlockedPairs) -> Tensor:
    """Sum over the pairs of each tap of the outer products: (columns, K, depth)."""
    source, given = as_array(x), as_array(gradient)
    columns, depth, kernel = given.shape[1], source.shape[1], pairs.counts.shape[1]
    width = padded(columns)
    if width != columns:
        given = np.concatenate([given, np.zeros((len(given), width - columns), given.dtype)], 1)
    total = np.zeros((kernel, depth, width), source.dtype)
    parts = -(-depth // _CHANNELS_A_SHARE)
    work = np.repeat(pairs.pairs_a_tap, parts) * (width * depth / parts)
    shares = fair(work, _WORTH_A_THREAD)
    common = (source, given, total, pairs.of, pairs.to, pairs.ends, pairs.counts, _CHANNELS_A_SHARE)
    run_shares(outer, [(*common, *share) for share in shares])
    return torch.from_numpy(total)[:, :, :columns].permute(2, 0, 1)
