"""The compiled table between some cells and all of their grown sites; ``neighbours.plain_find`` is the plain form."""

from __future__ import annotations

import numpy as np

from perception.compiled import compiled


@compiled
def spread_rows(
    cells: np.ndarray,
    grown: np.ndarray,
    source: np.ndarray,
    steps: np.ndarray,
    width: int,
    shape: np.ndarray,
    rows: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Fill ``rows`` (K, M) int32: the place in ``source`` of each grown cell moved by ``steps[tap]``, or -1.

    ``width`` taps in a row lie side by side on the last axis and are found together; lines first .. last of K / width
    are done. ``cells`` (M, 1 + d) with their keys ``grown`` (M,), and the keys ``source`` (N,), ascend.
    """
    axes = steps.shape[1]
    reach, size = width // 2, shape[axes - 1]
    for line in range(first, last):
        start = line * width
        rows[start : start + width] = -1
        delta = 0
        for axis in range(axes):
            delta = delta * shape[axis] + (steps[start, axis] if axis < axes - 1 else 0)
        other = 0
        for row in range(len(grown)):
            inside = True
            for axis in range(axes - 1):
                moved = cells[row, 1 + axis] + steps[start, axis]
                inside &= 0 <= moved < shape[axis]
            if not inside:
                continue
            # Keys run on from the end of one line of cells to the start of the next: stay within this one.
            place = np.int64(cells[row, axes])
            middle = grown[row] + delta
            lowest, highest = middle - min(reach, place), middle + min(reach, size - 1 - place)
            while other < len(source) and source[other] < lowest:
                other += 1
            found = other
            while found < len(source) and source[found] <= highest:
                rows[start + source[found] - middle + reach, row] = found
                found += 1
