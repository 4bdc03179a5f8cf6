"""Compiled grouping of points by cell on the CPU; ``voxelise`` has the plain form."""

from __future__ import annotations

import numpy as np

from perception.compiled import compiled

OUTSIDE, DROPPED = -1, -2


@compiled
def point_keys(
    values: np.ndarray,
    sample: np.ndarray,
    low: tuple[float, float, float],
    size: tuple[float, float, float],
    shape: tuple[int, int, int],
    keys: np.ndarray,
    first: int,
    last: int,
) -> None:
    """The cell of points first .. last as a number, or -1 outside the grid: ``keys`` (N,) int64.

    ``values`` (N, 3 or more) and ``low``, ``size`` (3,) of x, y, z float32; ``shape`` (3,) cells of z, y, x.
    """
    # Names of their own, since nobody but us knows that ``keys`` does not overlap these arrays.
    x_low, y_low, z_low = low
    x_size, y_size, z_size = size
    depth, height, width = shape
    for point in range(first, last):
        x = np.floor((values[point, 0] - x_low) / x_size)
        y = np.floor((values[point, 1] - y_low) / y_size)
        z = np.floor((values[point, 2] - z_low) / z_size)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (z >= 0) & (z < depth)
        key = ((sample[point] * depth + np.int64(z)) * height + np.int64(y)) * width + np.int64(x)
        keys[point] = key if inside else np.int64(-1)


@compiled
def group_points(
    point_key: np.ndarray, sample: np.ndarray, cap: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The voxel of each point (N,) int32, ``OUTSIDE`` the grid or ``DROPPED``; the voxels' keys and first points (M,).

    Voxels come in the order of their first points, the first ``cap[b]`` of sample b; points of later ones are dropped.
    """
    number = len(point_key)
    voxel, keys, used = np.empty(number, np.int32), np.empty(number, np.int64), np.zeros(len(cap), np.int64)
    start = np.empty(number, np.int64)
    # Open addressing: the table holds the row of a key. It starts as large as a second-level cache at most, and grows
    # with the voxels, not with the points, so that a point costs the same among fifty million as among a few.
    bits = 12
    while bits < 17 and (1 << bits) < number:
        bits += 1
    table = np.full(1 << bits, -1, np.int32)
    rows = done = 0
    while True:
        done, rows = _group(point_key, sample, cap, used, voxel, keys, start, table, bits, done, rows)
        if done == number:
            return voxel, keys[:rows].copy(), start[:rows]
        bits += 2
        table = _rehash(keys, rows, bits)


@compiled
def _group(
    point_key: np.ndarray,
    sample: np.ndarray,
    cap: np.ndarray,
    used: np.ndarray,
    voxel: np.ndarray,
    keys: np.ndarray,
    start: np.ndarray,
    table: np.ndarray,
    bits: int,
    first: int,
    rows: int,
) -> tuple[int, int]:
    """Go on from point ``first`` until all are done or the table is half full: (points done, voxels)."""
    # A function of its own: an array that is assigned anew in a loop costs counting of references at every access.
    mask, room = len(table) - 1, len(table) // 2
    before, held = np.int64(-2), np.int32(DROPPED)
    for point in range(first, len(point_key)):
        key = point_key[point]
        if key == before:  # neighbours of a scan line
            voxel[point] = held
            continue
        slot = _slot(key, bits)
        row = table[slot]
        while row >= 0 and keys[row] != key:
            slot = (slot + 1) & mask
            row = table[slot]
        if row < 0:
            owner = sample[point]
            if key < 0:
                row = np.int32(OUTSIDE)
            elif used[owner] >= cap[owner]:
                row = np.int32(DROPPED)
            elif rows == room:
                return point, rows
            else:
                used[owner] += 1
                row = np.int32(rows)
                keys[rows] = key
                start[rows] = point
                table[slot] = row
                rows += 1
        voxel[point] = row
        before, held = key, row
    return len(point_key), rows


@compiled
def _rehash(keys: np.ndarray, rows: int, bits: int) -> np.ndarray:
    table = np.full(1 << bits, -1, np.int32)
    for row in range(rows):
        slot = _slot(keys[row], bits)
        while table[slot] >= 0:
            slot = (slot + 1) & (len(table) - 1)
        table[slot] = row
    return table


@compiled
def fill_voxels(
    values: np.ndarray,
    sample: np.ndarray,
    voxel: np.ndarray,
    start: np.ndarray,
    low: tuple[float, float, float],
    size: tuple[float, float, float],
    padded: np.ndarray,
    counts: np.ndarray,
    coordinates: np.ndarray,
) -> int:
    """Copy the first points of each voxel to ``padded`` (M, most, C), zeros behind them, and count them in ``counts``.

    ``counts`` (M,) are zeros before; ``coordinates`` (M, 4) int32 are those of the cells. The answer is how many points
    were left out.
    """
    x_low, y_low, z_low = low
    x_size, y_size, z_size = size
    for row in range(len(start)):
        # The first point tells the cell: three divisions of floats cost less than taking the key apart.
        point = start[row]
        coordinates[row, 0] = sample[point]
        coordinates[row, 1] = np.int32(np.floor((values[point, 2] - z_low) / z_size))
        coordinates[row, 2] = np.int32(np.floor((values[point, 1] - y_low) / y_size))
        coordinates[row, 3] = np.int32(np.floor((values[point, 0] - x_low) / x_size))
    most, columns = padded.shape[1], padded.shape[2]
    flat, line = padded.reshape(len(padded), most * columns), padded.reshape(padded.size)
    for place in range(len(line)):  # all at once: a branch at each first point would be guessed wrong half of the time
        line[place] = 0
    clipped = 0
    for point in range(len(voxel)):
        row = voxel[point]
        if row < 0:
            clipped += row != OUTSIDE
            continue
        count = counts[row]
        if count < most:
            for column in range(columns):
                flat[row, count * columns + column] = values[point, column]
            counts[row] = count + 1
        else:
            clipped += 1
    return clipped


@compiled
def _slot(key: int, bits: int) -> np.int64:
    """Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4): the high bits of a product."""
    return np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - bits))
