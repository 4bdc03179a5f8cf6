"""How large the tiles of the Triton engine are: a default from the shapes, or what tuning found on this GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from perception.sparse.engines.triton_cache import tuned

Loop = Literal["product", "outer"]


@dataclass(frozen=True)
class Blocks:
    """A tile's output rows, input channels and output channels, powers of two from 16 (tensor cores' least) on.

    ``warps`` of 32 threads share a program; ``stages`` tiles are in flight from memory at once.
    """

    rows: int
    depth: int
    columns: int
    warps: int
    stages: int

    def shared(self, loop: Loop, dtype: torch.dtype) -> int:
        """Shared memory of the tiles in flight, bytes, at most: the compiler may need less."""
        summed = self.depth if loop == "product" else self.rows
        return (self.rows * self.depth + summed * self.columns) * dtype.itemsize * self.stages


def default(loop: Loop, depth: int, columns: int, dtype: torch.dtype) -> Blocks:
    """Tiles that fit every GPU: at most 48 KiB of shared memory, and next to no registers spilled (ptxas, sm_80 to 90).

    Halves go through tensor cores (Ampere or newer; Triton uses no older ones) and want wide tiles: every block of
    columns gathers the rows again, so one block should hold all columns up to 128. Float32 without TF32 is multiplied
    by scalar units, whose operands lie in registers: half as wide and half as deep. Narrow layers take 128 rows, to
    have as much to add for each weight read.
    Speed has been measured on no GPU yet: ``tune`` finds better tiles where there are any.
    """
    narrow = dtype.itemsize > 2
    depth_block, column_block = _power(depth, 32 if narrow else 64), _power(columns, 64 if narrow else 128)
    if loop == "outer":
        return Blocks(32 if narrow else 64, _power(depth, 64), _power(columns, 64), 4, 2)
    rows = 128 if column_block <= 32 and depth_block <= 32 else 64
    return Blocks(rows, depth_block, column_block, 8 if column_block > 64 else 4, 2)


def candidates(loop: Loop, depth: int, columns: int, dtype: torch.dtype) -> list[Blocks]:
    """What tuning tries: the default and its neighbours up to 96 KiB of shared memory, about twenty."""
    usual = default(loop, depth, columns, dtype)
    found = [usual]
    for rows in (32, 64, 128):
        for column_block in {usual.columns, _power(columns, usual.columns * 2)}:
            for warps, stages in ((4, 2), (4, 3), (8, 3)):
                blocks = Blocks(rows, usual.depth, column_block, warps, stages)
                if blocks not in found and blocks.shared(loop, dtype) <= 96 * 1024:
                    found.append(blocks)
    return found


def choose_blocks(
    loop: Loop, depth: int, columns: int, dtype: torch.dtype, precision: str, device: torch.device
) -> Blocks:
    """The tuned tiles where this GPU has been tuned for the shape, else the default. Nothing is timed here."""
    sizes = tuned(device).get(key(loop, depth, columns, dtype, precision))
    return default(loop, depth, columns, dtype) if sizes is None else Blocks(*sizes)


def key(loop: Loop, depth: int, columns: int, dtype: torch.dtype, precision: str) -> str:
    """The name of a shape in the file of tuned tiles."""
    return f"{loop} {depth}x{columns} {str(dtype).removeprefix('torch.')} {precision}"


def _power(size: int, most: int) -> int:
    """The power of two from ``size`` on, between 16 and ``most``."""
    return min(max(1 << (size - 1).bit_length(), 16), most)
