"""Compiled neighbour tables for sites in lexicographic order on the CPU; ``neighbours`` has the plain form.

Keys in ascending order make every tap a merge of two sorted lists, and the union of what taps reach a bitmap whose
population counts are the row numbers: no hashing and no sorting.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Bits of the bitmap, 256 MB: a larger grid than this is united by sorting.
MAXIMUM_CELLS = 2**31


@njit(cache=True, nogil=True)
def submanifold_rows(coordinates: np.ndarray, keys: np.ndarray, steps: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """``rows`` (K, N) int32 of a table: the row at distance ``steps[tap]`` (K, d) of each row, or -1.

    ``coordinates`` (N, 1 + d) int32 and their ``keys`` (N,) int64 ascend; steps are symmetric about the centre tap.
    """
    taps, number, axes = len(steps), len(keys), steps.shape[1]
    rows = np.full((taps, number), -1, np.int32)
    for row in range(number):
        rows[taps // 2, row] = row
    for tap in range(taps // 2):
        delta = 0
        for axis in range(axes):
            delta = delta * shape[axis] + steps[tap, axis]
        other = 0
        for row in range(number):
            wanted = keys[row] + delta
            while other < number and keys[other] < wanted:
                other += 1
            if other == number:
                break
            if keys[other] != wanted:
                continue
            # Keys run on from the end of one line to the start of the next, where cells are no neighbours.
            inside = True
            for axis in range(axes):
                moved = coordinates[row, 1 + axis] + steps[tap, axis]
                inside &= 0 <= moved < shape[axis]
            if inside:
                rows[tap, row] = other
                rows[taps - 1 - tap, other] = row
    return rows


@njit(cache=True, nogil=True)
def reached_cells(
    coordinates: np.ndarray, scale: np.ndarray, shifts: np.ndarray, stride: np.ndarray, shape: np.ndarray
) -> np.ndarray:
    """Key of the cell (coordinate * scale + shift) / stride that each tap reaches from each row, or -1: (K, N) int64.

    There is none where the division leaves a remainder or the cell lies outside ``shape``.
    """
    taps, number, axes = len(shifts), len(coordinates), shifts.shape[1]
    cells = np.empty((taps, number), np.int64)
    for tap in range(taps):
        for row in range(number):
            key = np.int64(coordinates[row, 0])
            for axis in range(axes):
                moved = coordinates[row, 1 + axis] * scale[axis] + shifts[tap, axis]
                cell = moved // stride[axis]
                if moved < 0 or cell >= shape[axis] or cell * stride[axis] != moved:
                    key = np.int64(-1)
                    break
                key = key * shape[axis] + cell
            cells[tap, row] = key
    return cells


@njit(cache=True, nogil=True)
def number_cells(cells: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct cells in ascending order (M,) int64, and the table's rows (K, M) int32: who reached each, by tap."""
    words = np.zeros(total // 64 + 1, np.uint64)
    for tap in range(cells.shape[0]):
        for row in range(cells.shape[1]):
            cell = cells[tap, row]
            if cell >= 0:
                words[cell >> 6] |= np.uint64(1) << np.uint64(cell & 63)
    before = np.empty(len(words), np.int32)
    number = np.int64(0)
    for word in range(len(words)):
        before[word] = number
        number += _population(words[word])
    distinct = np.empty(number, np.int64)
    position = 0
    for word in range(len(words)):
        left = words[word]
        while left:
            lowest = left & (~left + np.uint64(1))
            distinct[position] = np.int64(word) * 64 + _population(lowest - np.uint64(1))
            position += 1
            left ^= lowest
    rows = np.full((cells.shape[0], number), -1, np.int32)
    for tap in range(cells.shape[0]):
        for row in range(cells.shape[1]):
            cell = cells[tap, row]
            if cell >= 0:
                lower = words[cell >> 6] & ((np.uint64(1) << np.uint64(cell & 63)) - np.uint64(1))
                rows[tap, before[cell >> 6] + _population(lower)] = row
    return distinct, rows


@njit(cache=True, nogil=True, inline="always")
def _population(word: np.uint64) -> np.int64:
    """Set bits of a 64-bit word, in parallel sums of 2, 4 and 8 bits."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))
