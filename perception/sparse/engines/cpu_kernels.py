"""Loops of the CPU engine over blocks of rows and taps; the arithmetic is in ``cpu_tiles``.

Pairs (see ``perception.sparse.pairs``) are grouped by blocks of output rows and, within a block, by taps, so that the
rows of a block stay in the cache from tap to tap. Every output row belongs to one block and its taps follow each
other in order: sums have one order, however the blocks are dealt out to threads.
"""

from __future__ import annotations

import numpy as np

from perception.compiled import compiled
from perception.sparse.engines.cpu_tiles import LANES, ROWS, VECTORS, outer_tile, product_tile

WIDE = LANES * VECTORS
NARROW_OUTER = 4

# Globals, not variables of an enclosing function: numba keys its cache by the latter, and no two processes would agree.
_product_wide, _product = product_tile(VECTORS), product_tile(1)
_high_wide, _high = outer_tile(ROWS, VECTORS), outer_tile(ROWS, 1)
_middle_wide, _middle = outer_tile(NARROW_OUTER, VECTORS), outer_tile(NARROW_OUTER, 1)
_low_wide, _low = outer_tile(1, VECTORS), outer_tile(1, 1)


def padded(columns: int) -> int:
    """Columns of a matrix that the tiles can write: a multiple of ``LANES``."""
    return -(-columns // LANES) * LANES


@compiled
def pack(weight: np.ndarray, scale: np.ndarray, packed: np.ndarray) -> None:
    """Weights (K, depth, columns) times ``scale`` (columns) in the order in which tiles read them: (K, depth * padded).

    For each tap, each tile of ``WIDE`` columns (the last may be ``LANES`` wide) holds its rows one after the other.
    """
    taps, depth, columns = weight.shape
    total = packed.shape[1] // depth if depth else 0
    for tap in range(taps):
        first = 0
        while first < total:
            width = WIDE if total - first >= WIDE else LANES
            place = first * depth
            for row in range(depth):
                for lane in range(width):
                    column = first + lane
                    packed[tap, place + lane] = weight[tap, row, column] * scale[column] if column < columns else 0
                place += width
            first += width


@compiled
def multiply(
    x: np.ndarray,
    packed: np.ndarray,
    taps: np.ndarray,
    start: np.ndarray,
    y: np.ndarray,
    of: np.ndarray,
    to: np.ndarray,
    ends: np.ndarray,
    rows_a_block: int,
    rectify: bool,
    first: int,
    last: int,
) -> None:
    """``y[block] = start + sum over taps of x[of] @ packed[taps[tap]]``, then max(., 0) if ``rectify``.

    Blocks first .. last are done. x (N, depth) contiguous; y (M + 1, padded columns); start (padded columns); ends
    (blocks, K + 1): where the pairs of a tap begin, multiples of ``ROWS`` apart.
    """
    size = x.itemsize
    depth, columns, kernel = x.shape[1], y.shape[1], ends.shape[1] - 1
    outputs = y.shape[0] - 1  # the last row takes the pairs that fill up the last tile of a tap
    x_at, y_at, of_at, to_at = x.ctypes.data, y.ctypes.data, of.ctypes.data, to.ctypes.data
    for block in range(first, last):
        low, high = block * rows_a_block, min((block + 1) * rows_a_block, outputs)
        for row in range(low, high):
            y[row] = start
        for tap in range(kernel):
            weights = packed.ctypes.data + taps[tap] * packed.shape[1] * size
            column = 0
            while column < columns:
                target = y_at + column * size
                if columns - column >= WIDE:
                    for pair in range(ends[block, tap], ends[block, tap + 1], ROWS):
                        _product_wide(
                            x, x_at, weights, target, of_at + pair * 4, to_at + pair * 4, depth, depth, columns
                        )
                    weights += WIDE * depth * size
                    column += WIDE
                else:
                    for pair in range(ends[block, tap], ends[block, tap + 1], ROWS):
                        _product(x, x_at, weights, target, of_at + pair * 4, to_at + pair * 4, depth, depth, columns)
                    weights += LANES * depth * size
                    column += LANES
        if rectify:
            for row in range(low, high):
                for column in range(columns):
                    if y[row, column] < 0:  # not max(): a value that is no number stays none
                        y[row, column] = 0


@compiled
def outer(
    x: np.ndarray,
    y: np.ndarray,
    gradient: np.ndarray,
    of: np.ndarray,
    to: np.ndarray,
    ends: np.ndarray,
    counts: np.ndarray,
    channels: int,
    first: int,
    last: int,
) -> None:
    """``gradient[tap] += sum of outer(x[of], y[to])`` for items first .. last.

    An item is ``channels`` columns of x at one tap; gradient (K, depth, padded columns).
    """
    size = x.itemsize
    depth, columns = x.shape[1], y.shape[1]
    parts = -(-depth // channels)
    for item in range(first, last):
        tap, part = item // parts, item % parts
        for block in range(counts.shape[0]):
            number = counts[block, tap]
            if number == 0:
                continue
            pair = ends[block, tap] * 4
            sources, targets = of.ctypes.data + pair, to.ctypes.data + pair
            row = part * channels
            while row < min((part + 1) * channels, depth):
                left = min((part + 1) * channels, depth) - row
                column = 0
                while column < columns:
                    xs, ys = x.ctypes.data + row * size, y.ctypes.data + column * size
                    ws = gradient.ctypes.data + ((tap * depth + row) * columns + column) * size
                    if columns - column >= WIDE:
                        if left >= ROWS:
                            _high_wide(x, xs, ys, ws, sources, targets, number, depth, columns, columns)
                        elif left >= NARROW_OUTER:
                            _middle_wide(x, xs, ys, ws, sources, targets, number, depth, columns, columns)
                        else:
                            _low_wide(x, xs, ys, ws, sources, targets, number, depth, columns, columns)
                        column += WIDE
                    else:
                        if left >= ROWS:
                            _high(x, xs, ys, ws, sources, targets, number, depth, columns, columns)
                        elif left >= NARROW_OUTER:
                            _middle(x, xs, ys, ws, sources, targets, number, depth, columns, columns)
                        else:
                            _low(x, xs, ys, ws, sources, targets, number, depth, columns, columns)
                        column += LANES
                row += ROWS if left >= ROWS else NARROW_OUTER if left >= NARROW_OUTER else 1
