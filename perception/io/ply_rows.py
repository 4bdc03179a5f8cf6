"""Where the rows of a binary PLY element with lists begin and end: their length depends on their content."""

from __future__ import annotations

import numba
import numpy as np


def row_starts(data: np.ndarray, rows: int, properties: list[tuple[int, int]], big_endian: bool) -> np.ndarray | None:
    """Byte offsets (rows + 1, properties) of every value in ``data`` (M,) uint8, or None where the data end too early.

    ``properties`` gives for each one (bytes of the list's length, or 0 for a scalar; bytes of an item). The last row
    holds the end of the element in its first entry. ``rows`` has been checked against M: an item is a byte at least.
    """
    counts, sizes = (np.array(part, np.int64) for part in zip(*properties))
    starts = np.zeros((rows + 1, len(properties)), np.int64)
    return starts if _walk(data, counts, sizes, big_endian, starts) else None


@numba.njit(cache=True)
def _walk(
    data: np.ndarray, counts: np.ndarray, sizes: np.ndarray, big_endian: bool, starts: np.ndarray
) -> bool:  # pragma: no cover
    position = np.int64(0)
    for row in range(len(starts) - 1):
        for number in range(len(counts)):
            starts[row, number] = position
            length = np.int64(1)
            width = counts[number]
            if width:
                if position + width > len(data):
                    return False
                length = np.int64(0)
                for k in range(width):
                    place = k if big_endian else width - 1 - k
                    length = (length << 8) | np.int64(data[position + place])
                position += width
            # A list length is at most 2**32 - 1 and an item 8 bytes: the sum stays inside of int64.
            position += length * sizes[number]
            if position > len(data):
                return False
    starts[len(starts) - 1, 0] = position
    return True
