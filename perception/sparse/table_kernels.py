"""Compiled neighbour tables for sites in lexicographic order on the CPU; ``neighbours`` has the plain form.

Keys in ascending order make every tap a merge of two sorted lists, and the union of what taps reach a bitmap whose
population counts are the row numbers: no hashing and no sorting.
"""

from __future__ import annotations

import numpy as np

from perception.compiled import compiled

# Bits of the bitmap, 256 MB: a larger grid than this is united by sorting.
MAXIMUM_CELLS = 2**31


@compiled
def submanifold_rows(
    coordinates: np.ndarray,
    keys: np.ndarray,
    steps: np.ndarray,
    width: int,
    spacing: int,
    shape: np.ndarray,
    rows: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Fill ``rows`` (K, N) int32: the row at distance ``steps[tap]`` (K, d) of each row, or -1.

    ``width`` taps in a row, ``spacing`` cells apart, lie on one line along the last axis and are found together. Lines
    first .. last of 0 .. (K / width) // 2 are done, each with its mirror image. ``coordinates`` (N, 1 + d) int32 and
    their ``keys`` (N,) int64 ascend; steps are symmetric about the centre tap.
    """
    taps, number, axes = len(steps), len(keys), steps.shape[1]
    reach = (width // 2) * spacing
    size = shape[axes - 1]
    for line in range(first, last):
        start = line * width
        central = 2 * line + 1 == taps // width
        for tap in range(start, start + width):
            rows[tap], rows[taps - 1 - tap] = -1, -1
        delta = 0
        for axis in range(axes):
            delta = delta * shape[axis] + (steps[start, axis] if axis < axes - 1 else 0)
        other = 0
        for row in range(number):
            # Keys run on from the end of one line to the start of the next, where cells are no neighbours.
            inside = True
            for axis in range(axes - 1):
                moved = coordinates[row, 1 + axis] + steps[start, axis]
                inside &= 0 <= moved < shape[axis]
            if not inside:
                continue
            place = np.int64(coordinates[row, axes])
            middle = keys[row] + delta
            lowest, highest = middle - min(reach, place), middle + min(reach, size - 1 - place)
            if central:
                highest = middle  # what lies ahead finds this row behind it
            while other < number and keys[other] < lowest:
                other += 1
            found = other
            while found < number and keys[found] <= highest:
                distance = keys[found] - middle + reach
                if spacing == 1 or distance % spacing == 0:
                    tap = start + distance // spacing
                    rows[tap, row] = found
                    rows[taps - 1 - tap, found] = row
                found += 1


@compiled
def merged_rows(
    cells: np.ndarray,
    scale: np.ndarray,
    steps: np.ndarray,
    keys: np.ndarray,
    shape: np.ndarray,
    rows: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Set ``rows`` (K, M), full of -1, to the place of each ``cells * scale + steps[tap]`` in ``keys``.

    Taps first .. last are done; ``cells`` (M, 1 + d) and ``keys`` (N,) of a grid of ``shape`` ascend.
    """
    axes = steps.shape[1]
    for tap in range(first, last):
        other = 0
        for row in range(len(cells)):
            wanted, inside = np.int64(cells[row, 0]), True
            for axis in range(axes):
                moved = np.int64(cells[row, 1 + axis]) * scale[axis] + steps[tap, axis]
                inside &= 0 <= moved < shape[axis]
                wanted = wanted * shape[axis] + moved
            if not inside:
                continue
            while other < len(keys) and keys[other] < wanted:
                other += 1
            if other == len(keys):
                break
            if keys[other] == wanted:
                rows[tap, row] = other


@compiled
def reached_cells(
    coordinates: np.ndarray,
    shifts: np.ndarray,
    kernel: np.ndarray,
    scale: np.ndarray,
    stride: np.ndarray,
    shape: np.ndarray,
    cells: np.ndarray,
    taps: np.ndarray,
    first: int,
    last: int,
) -> None:
    """The cells that rows first .. last reach: keys in ``cells`` (N, most) int64, which tap reaches them in ``taps``.

    ``shifts`` (d, longest) has ``kernel`` (d) of each axis in use. There is no cell where the division by ``stride``
    leaves a remainder or the cell lies outside ``shape``; the rest of a row of ``cells`` is -1.
    """
    axes, longest = shifts.shape
    along, step_of, valid = (
        np.empty((axes, longest), np.int64),
        np.empty((axes, longest), np.int64),
        np.empty(axes, np.int64),
    )
    keys, numbers = np.empty(cells.shape[1], np.int64), np.empty(cells.shape[1], np.int64)
    for row in range(first, last):
        # The axes are independent: a few divisions for each, then combinations of what is valid.
        for axis in range(axes):
            count = 0
            for step in range(kernel[axis]):
                moved = coordinates[row, 1 + axis] * scale[axis] + shifts[axis, step]
                cell = moved // stride[axis]
                if moved >= 0 and cell < shape[axis] and cell * stride[axis] == moved:
                    along[axis, count], step_of[axis, count] = cell, step
                    count += 1
            valid[axis] = count
        keys[0], numbers[0] = coordinates[row, 0], 0
        found = 1
        for axis in range(axes):
            # From the back, so that each partial key is read before its place is written.
            for old in range(found - 1, -1, -1):
                key, number = keys[old] * shape[axis], numbers[old] * kernel[axis]
                for place in range(valid[axis]):
                    keys[old * valid[axis] + place] = key + along[axis, place]
                    numbers[old * valid[axis] + place] = number + step_of[axis, place]
            found *= valid[axis]
        for place in range(found):
            cells[row, place], taps[row, place] = keys[place], numbers[place]
        cells[row, found:] = -1


@compiled
def number_cells(cells: np.ndarray, taps: np.ndarray, kernel: int, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct cells in ascending order (M,) int64, and the table's rows (kernel, M) int32: who reached each."""
    words = np.zeros(total // 64 + 1, np.uint64)
    for row in range(cells.shape[0]):
        for place in range(cells.shape[1]):
            cell = cells[row, place]
            if cell < 0:
                break
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
    rows = np.full((kernel, number), -1, np.int32)
    for row in range(cells.shape[0]):
        for place in range(cells.shape[1]):
            cell = cells[row, place]
            if cell < 0:
                break
            lower = words[cell >> 6] & ((np.uint64(1) << np.uint64(cell & 63)) - np.uint64(1))
            rows[taps[row, place], before[cell >> 6] + _population(lower)] = row
    return distinct, rows


@compiled
def _population(word: np.uint64) -> np.int64:
    """Set bits of a 64-bit word, in parallel sums of 2, 4 and 8 bits."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))
