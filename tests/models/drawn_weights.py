"""Weights by key: the same numbers wherever they are drawn."""

from __future__ import annotations

import hashlib

import numpy as np


def drawn(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weight of a key, official or ours; biases make peaks of all kinds, and boxes that overlap."""
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")))
    if key.endswith("num_batches_tracked"):
        return np.ones(shape, np.int64)
    if key.endswith("running_var"):
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    if key.endswith("weight") and len(shape) == 1:
        return generator.uniform(0.8, 1.2, shape).astype(np.float32)
    if len(shape) < 2:
        shift = {"heatmap_head.1.bias": np.array([-2.0] * 8 + [-1.0] * 2), "dim.1.bias": 1.0, "iou.1.bias": 1.3}
        more = sum((value for end, value in shift.items() if key.endswith(end)), np.array(0.0))
        return (0.1 * generator.standard_normal(shape) + more).astype(np.float32)
    fan = shape[0] if "deblocks." in key and "deblocks.0" not in key else int(np.prod(shape[1:]))
    if len(shape) == 5:  # sparse convolutions see a part of their kernels' cells
        fan = round(shape[4] * float(np.prod(shape[1:4])) ** 0.62)
    raw = len(shape) in (2, 3) and shape[1] in (2, 3, 11)  # coordinates in cells, or points in metres
    scale = (0.05 if raw else 1.2 / np.sqrt(fan)) * (0.3 if ".dim." in key else 1)
    values = scale * generator.standard_normal(shape)
    if key.endswith(("heatmap_head.1.weight", "heatmap.3.weight")):
        values -= values.mean((1, 2, 3), keepdims=True)  # else one class would win everywhere
    return values.astype(np.float32)
