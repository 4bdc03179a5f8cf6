"""The two loops of the Triton engine. Importing this file needs the package ``triton``.

Both are implicit matrix products: the rows that the table names are gathered into a tile, multiplied and summed in
float32, without a list of pairs and without atomics, so the order of every sum is fixed by the shapes and the blocks.
Numbers that differ from cloud to cloud (``outputs``, ``taps``, ...) are not specialised: one compilation serves all.
Products with a row number are in int64, because N x C passes 2^31 elements on large clouds.
``WIDEN`` is for Triton's interpreter, which multiplies the bits of bfloat16 as if they were integers.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["outputs", "taps", "first"])
def gather_product(
    x,
    weight,
    rows,
    scale,
    shift,
    y,
    outputs,
    taps,
    depth,
    columns,
    first,
    step,
    weight_depth,
    weight_column,
    FUSED: tl.constexpr,
    RECTIFY: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
    ROWS: tl.constexpr,
    DEPTH: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """y (outputs, columns) = sum over the taps of x[rows[tap]] (outputs, depth) @ weight[tap] (depth, columns).

    ``weight`` is read at ``first + tap * step``, so that a negative step reads the taps backwards. ``scale`` and
    ``shift`` (columns,) float32 are read only if ``FUSED``. One program makes ROWS x COLUMNS numbers of y.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    channel = tl.arange(0, DEPTH)
    inside, wanted = row < outputs, column < columns
    table = rows + row
    tap_weight = weight + first
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for _ in range(taps):
        source = tl.load(table, mask=inside, other=-1)
        if tl.max(source, 0) >= 0:  # else no row of the block has this neighbour
            start = source.to(tl.int64) * depth
            for done in range(0, depth, DEPTH):
                k = done + channel
                left = tl.load(
                    x + start[:, None] + k[None, :], mask=(source >= 0)[:, None] & (k < depth)[None, :], other=0.0
                )
                right = tl.load(
                    tap_weight + k[:, None] * weight_depth + column[None, :] * weight_column,
                    mask=(k < depth)[:, None] & wanted[None, :],
                    other=0.0,
                )
                if WIDEN:
                    left, right = left.to(tl.float32), right.to(tl.float32)
                total = tl.dot(left, right, total, input_precision=PRECISION)
        table += outputs
        tap_weight += step
    if FUSED:
        total = total * tl.load(scale + column, mask=wanted, other=0.0)[None, :]
        total += tl.load(shift + column, mask=wanted, other=0.0)[None, :]
    if RECTIFY:
        total = tl.where(total < 0, 0.0, total)  # a maximum would turn NaN into zero and hide it
    target = y + row.to(tl.int64)[:, None] * columns + column[None, :]
    tl.store(target, total.to(y.dtype.element_ty), mask=inside[:, None] & wanted[None, :])


@triton.jit(do_not_specialize=["outputs", "taps", "rows_a_split"])
def outer_product(
    x,
    gradient,
    rows,
    partial,
    outputs,
    taps,
    depth,
    columns,
    rows_a_split,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
    ROWS: tl.constexpr,
    DEPTH: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """partial[split, tap] (depth, columns) = x[rows[tap]]^T @ gradient over the output rows of one split.

    ``partial`` is (splits, taps, depth, columns) float32; one program makes DEPTH x COLUMNS numbers of it.
    """
    tap = tl.program_id(0).to(tl.int64)
    split = tl.program_id(1).to(tl.int64)
    tiles = tl.cdiv(columns, COLUMNS)
    channel = tl.program_id(2) // tiles * DEPTH + tl.arange(0, DEPTH)
    column = tl.program_id(2) % tiles * COLUMNS + tl.arange(0, COLUMNS)
    kept, wanted = channel < depth, column < columns
    begin = split * rows_a_split
    end = tl.minimum(begin + rows_a_split, outputs)
    table = rows + tap * outputs
    total = tl.zeros((DEPTH, COLUMNS), dtype=tl.float32)
    for done in range(begin, end, ROWS):
        row = done + tl.arange(0, ROWS)
        source = tl.load(table + row, mask=row < end, other=-1)
        found = source >= 0
        if tl.max(source, 0) >= 0:
            left = tl.load(
                x + source.to(tl.int64)[None, :] * depth + channel[:, None],
                mask=found[None, :] & kept[:, None],
                other=0.0,
            )
            # Rows without this neighbour are blank on both sides: zero times infinity is not zero.
            right = tl.load(
                gradient + row.to(tl.int64)[:, None] * columns + column[None, :],
                mask=found[:, None] & wanted[None, :],
                other=0.0,
            )
            if WIDEN:
                left, right = left.to(tl.float32), right.to(tl.float32)
            total = tl.dot(left, right, total, input_precision=PRECISION)
    target = partial + ((split * taps + tap) * depth + channel[:, None]) * columns + column[None, :]
    tl.store(target, total, mask=kept[:, None] & wanted[None, :])
