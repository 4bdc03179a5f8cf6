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

_product32_wide, _product32 = product_tile("float32", VECTORS), product_tile("float32", 1)
_product64_wide, _product64 = product_tile("float64", VECTORS), product_tile("float64", 1)
_outer32 = {(rows, v): outer_tile("float32", rows, v) for rows in (ROWS, NARROW_OUTER, 1) for v in (VECTORS, 1)}
_outer64 = {(rows, v): outer_tile("float64", rows, v) for rows in (ROWS, NARROW_OUTER, 1) for v in (VECTORS, 1)}


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


def _make_multiply(wide, narrow, size):
    @compiled
    def multiply(x, packed, taps, start, y, of, to, ends, rows_a_block, rectify, first, last):
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
                            wide(x_at, weights, target, of_at + pair * 4, to_at + pair * 4, depth, depth, columns)
                        weights += WIDE * depth * size
                        column += WIDE
                    else:
                        for pair in range(ends[block, tap], ends[block, tap + 1], ROWS):
                            narrow(x_at, weights, target, of_at + pair * 4, to_at + pair * 4, depth, depth, columns)
                        weights += LANES * depth * size
                        column += LANES
            if rectify:
                for row in range(low, high):
                    for column in range(columns):
                        if y[row, column] < 0:  # not max(): a value that is no number stays none
                            y[row, column] = 0

    return multiply


def _make_outer(tiles, size):
    high_wide, high = tiles[ROWS, VECTORS], tiles[ROWS, 1]
    middle_wide, middle = tiles[NARROW_OUTER, VECTORS], tiles[NARROW_OUTER, 1]
    low_wide, low = tiles[1, VECTORS], tiles[1, 1]

    @compiled
    def outer(x, y, gradient, of, to, ends, counts, channels, first, last):
        depth, columns = x.shape[1], y.shape[1]
        x_at, y_at, w_at, of_at, to_at = (
            x.ctypes.data,
            y.ctypes.data,
            gradient.ctypes.data,
            of.ctypes.data,
            to.ctypes.data,
        )
        parts = -(-depth // channels)
        for item in range(first, last):
            tap, part = item // parts, item % parts
            for block in range(counts.shape[0]):
                number = counts[block, tap]
                if number == 0:
                    continue
                sources, targets = of_at + ends[block, tap] * 4, to_at + ends[block, tap] * 4
                row = part * channels
                while row < min((part + 1) * channels, depth):
                    left = min((part + 1) * channels, depth) - row
                    column = 0
                    while column < columns:
                        xs, ys = x_at + row * size, y_at + column * size
                        ws = w_at + ((tap * depth + row) * columns + column) * size
                        if columns - column >= WIDE:
                            if left >= ROWS:
                                high_wide(xs, ys, ws, sources, targets, number, depth, columns, columns)
                            elif left >= NARROW_OUTER:
                                middle_wide(xs, ys, ws, sources, targets, number, depth, columns, columns)
                            else:
                                low_wide(xs, ys, ws, sources, targets, number, depth, columns, columns)
                            column += WIDE
                        else:
                            if left >= ROWS:
                                high(xs, ys, ws, sources, targets, number, depth, columns, columns)
                            elif left >= NARROW_OUTER:
                                middle(xs, ys, ws, sources, targets, number, depth, columns, columns)
                            else:
                                low(xs, ys, ws, sources, targets, number, depth, columns, columns)
                            column += LANES
                    row += ROWS if left >= ROWS else NARROW_OUTER if left >= NARROW_OUTER else 1

    return outer


MULTIPLY = {
    "float32": _make_multiply(_product32_wide, _product32, 4),
    "float64": _make_multiply(_product64_wide, _product64, 8),
}
"""``y[block] = start + sum over taps of x[of] @ packed[taps[tap]]``, then max(., 0) if ``rectify``, for some blocks.

x (N, depth) contiguous; y (M + 1, padded columns); start (padded columns); ends (blocks, K + 1): where the pairs of a
tap begin, multiples of ``ROWS`` apart; blocks first .. last are done.
"""
OUTER = {"float32": _make_outer(_outer32, 4), "float64": _make_outer(_outer64, 8)}
"""``gradient[tap] += sum of outer(x[of], y[to])`` for items first .. last.

An item is ``channels`` columns of x at one tap; gradient (K, depth, padded columns).
"""
