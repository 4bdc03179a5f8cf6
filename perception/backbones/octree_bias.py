"""The bias of window attention in one pass over memory, for use without gradients on a CPU.

``octformer.WindowAttention.bias`` is the plain form.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from perception.backbones.octree_windows import ELSEWHERE, OctreeWindows
from perception.compiled import compiled
from perception.threads import fair, run_shares

# Below so many scores a second thread costs more than it brings.
_WORTH_A_THREAD = 500_000


def position_bias(windows: OctreeWindows, table: Tensor) -> Tensor:
    """What is added to the scores of each pair of slots: (W, heads, L, L) float32.

    ``table`` (3 * (2 * bound + 1), heads): for each axis, x first, a row for each distance from -bound to bound.
    """
    (number, size), heads = windows.rows.shape, table.shape[1]
    length = size + windows.with_tokens
    bias = torch.empty((number, heads, length, length))
    of_head = np.ascontiguousarray(table.detach().float().numpy().T)
    given = (windows.location.numpy(), windows.samples.numpy(), of_head, np.float32(ELSEWHERE), bias.numpy())
    work = np.full(number, heads * length * length)
    run_shares(_fill, [(*given, *share) for share in fair(work, _WORTH_A_THREAD)])
    return bias


@compiled
def _fill(
    location: np.ndarray,
    samples: np.ndarray,
    table: np.ndarray,
    elsewhere: np.float32,
    bias: np.ndarray,
    first: int,
    last: int,
) -> None:
    heads, length = bias.shape[1], bias.shape[2]
    size = location.shape[1]
    tokens, axis_rows = length - size, table.shape[1] // 3
    bound = (axis_rows - 1) // 2
    # Unsigned, so that an index cannot be negative and the loop over it becomes gathers.
    rows = np.empty((3, size), np.uint32)
    cloud = np.empty(length, np.int64)
    for window in range(first, last):
        owner = samples[window].min()
        cloud[:tokens] = owner
        cloud[tokens:] = samples[window]
        shared = (cloud != owner).any()
        for i in range(size):
            for axis in range(3):
                here = location[window, i, axis]
                for j in range(size):
                    apart = min(max(here - location[window, j, axis], -bound), bound)
                    rows[axis, j] = apart + bound + axis * axis_rows
            for head in range(heads):
                of, line = table[head], bias[window, head, i + tokens, tokens:]
                for j in range(size):
                    line[j] = of[rows[0, j]] + of[rows[1, j]] + of[rows[2, j]]
        if tokens:
            bias[window, :, 0, :] = 0
            bias[window, :, :, 0] = 0
        if shared:
            for i in range(length):
                for j in range(length):
                    if cloud[i] != cloud[j]:
                        bias[window, :, i, j] += elsewhere
