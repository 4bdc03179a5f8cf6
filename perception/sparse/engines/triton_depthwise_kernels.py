"""The two loops of depthwise convolution in Triton. Importing this file needs the package ``triton``.

No products of matrices: bound by memory, so tiles are plain. No atomics, so the order of every sum is fixed.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["outputs", "taps", "first"])
def gather_scale(x, weight, rows, y, outputs, taps, channels, first, step, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """y (outputs, channels) = sum over the taps of x[rows[tap]] * weight[tap]; weight (taps, channels) dense.

    The weights of tap t are at ``first + t * step``, so that a negative step reads the taps backwards.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside, kept = row < outputs, channel < channels
    table, place = rows + row, weight + first + channel
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for _ in range(taps):
        source = tl.load(table, mask=inside, other=-1)
        if tl.max(source, 0) >= 0:  # else no row of the block has this neighbour
            values = tl.load(
                x + source.to(tl.int64)[:, None] * channels + channel[None, :],
                mask=(source >= 0)[:, None] & kept[None, :],
                other=0.0,
            )
            total += values.to(tl.float32) * tl.load(place, mask=kept, other=0.0).to(tl.float32)[None, :]
        table += outputs
        place += step
    target = y + row.to(tl.int64)[:, None] * channels + channel[None, :]
    tl.store(target, total.to(y.dtype.element_ty), mask=inside[:, None] & kept[None, :])


@triton.jit(do_not_specialize=["outputs", "taps", "rows_a_split"])
def correlate(
    x, gradient, rows, partial, outputs, taps, channels, rows_a_split, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """partial[split, tap] (channels,) = sum of x[rows[tap]] * gradient over the output rows of one split, float32."""
    tap = tl.program_id(0).to(tl.int64)
    split = tl.program_id(1).to(tl.int64)
    channel = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    kept = channel < channels
    begin = split * rows_a_split
    end = tl.minimum(begin + rows_a_split, outputs)
    table = rows + tap * outputs
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for done in range(begin, end, ROWS):
        row = done + tl.arange(0, ROWS)
        source = tl.load(table + row, mask=row < end, other=-1)
        found = (source >= 0)[:, None] & kept[None, :]
        left = tl.load(x + source.to(tl.int64)[:, None] * channels + channel[None, :], mask=found, other=0.0)
        right = tl.load(gradient + row.to(tl.int64)[:, None] * channels + channel[None, :], mask=found, other=0.0)
        total += left.to(tl.float32) * right.to(tl.float32)
    target = partial + (split * taps + tap) * channels + channel
    tl.store(target, tl.sum(total, 0), mask=kept)
