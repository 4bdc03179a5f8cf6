"""Weights by a rule, from the names and shapes of a foreign model, and points and voxels to run it on.

Needs numpy alone, so that the programs which ran the foreign models could use the same rule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

SMALL = ("dim", "conv_reg", "rot", "vel", "height")
RARE = ("conv_cls.bias", "hm.3.bias", "heatmap.1.bias")


def drawn(keys: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """One float32 array a key (int64 for counters), from a generator seeded by the key."""
    return {key: _array(key, shape) for key, shape in keys.items()}


def _array(key: str, shape: tuple[int, ...]) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    generator = np.random.Generator(np.random.PCG64(seed))
    if key.endswith("num_batches_tracked"):
        return np.ones(shape, np.int64)
    if key.endswith("running_var"):
        values = generator.uniform(0.5, 1.5, shape)
    elif key.endswith("weight") and len(shape) == 1:
        values = generator.uniform(0.8, 1.2, shape)
    elif len(shape) == 1:
        values = 0.1 * generator.standard_normal(shape) - (2.0 if key.endswith(RARE) else 0.0)
    else:
        fan = max(shape[0], int(np.prod(shape)) // shape[0]) if "deblocks" in key else int(np.prod(shape)) // shape[0]
        scale = 0.3 if key.endswith(("1.weight", "3.weight", "conv_reg.weight")) and _has(key, SMALL) else 1.0
        values = generator.standard_normal(shape) * (1.4 / np.sqrt(fan)) * scale
    return values.astype(np.float32)


def _has(key: str, parts: tuple[str, ...]) -> bool:
    return any(part in key.split(".") for part in parts)


def cloud(low: tuple[float, ...], high: tuple[float, ...], cell: float, count: int, extra: int) -> np.ndarray:
    """Points (count, 3 + extra) float32, none near a face of a cell of that size."""
    generator = np.random.Generator(np.random.PCG64(7))
    cells = [round((b - a) / cell) for a, b in zip(low, high)]
    centre = generator.integers(0, cells, (count // 3 + 1, 3))
    # Clusters, so that voxels have neighbours and several points.
    near = np.repeat(centre, 3, 0)[:count] + generator.integers(-1, 2, (count, 3))
    xyz = np.array(low) + (near.clip(0, np.array(cells) - 1) + generator.uniform(0.1, 0.9, (count, 3))) * cell
    return np.column_stack([xyz, generator.uniform(0, 1, (count, extra))]).astype(np.float32)


def stored_keys(text: np.ndarray) -> dict[str, tuple[int, ...]]:
    """Names and shapes from the bytes of a stored list, one `name 1,2,3` a line."""
    pairs = (line.split(" ") for line in text.tobytes().decode().splitlines())
    return {key: tuple(int(n) for n in shape.split(",") if n) for key, shape in pairs}
