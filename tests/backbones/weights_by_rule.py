"""A stand-in checkpoint: every tensor follows from its official name and shape alone."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def tensor_of(key: str, shape: Sequence[int]) -> Tensor:
    """Values that keep activations of order one: He's deviation for weights, plausible statistics for norms."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    if key.endswith("num_batches_tracked"):
        return torch.ones((), dtype=torch.int64)
    if key.endswith("running_mean"):
        values = generator.normal(0, 0.1, shape)
    elif key.endswith("running_var"):
        values = generator.uniform(0.5, 1.5, shape)
    elif len(shape) == 1:
        scale = 0.05 if "reduce" in key else 1.0
        values = (
            generator.uniform(0.8, 1.2, shape) * scale if key.endswith("weight") else generator.normal(0, 0.1, shape)
        )
    elif len(shape) == 5:  # sparse, (out, kz, ky, kx, in): half of the neighbours are there, and few may grow
        spread = math.sqrt(2 / (shape[4] * math.prod(shape[1:4]) / 2))
        values = generator.normal(-0.1 * spread if "conv_imp" in key else 0, spread, shape)
    else:
        values = generator.normal(0, math.sqrt(2 / math.prod(shape[1:])), shape)
    return torch.from_numpy(values.astype(np.float32))
