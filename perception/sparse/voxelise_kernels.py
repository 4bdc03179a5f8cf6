"""Compiled grouping of points by cell on the CPU; ``voxelise`` has the plain form."""

from __future__ import annotations

import numpy as np

from perception.compiled import compiled

OUTSIDE, DROPPED = -1, -2


@compiled
def group_points(
    values: np.ndarray, sample: np.ndarray, low: np.ndarray, size: np.ndarray, shape: np.ndarray, cap: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The voxel of each point (N,) int32, ``OUTSIDE`` the grid or ``DROPPED``, and the voxels' keys (M,) int64.

    ``values`` (N, 3 or more) and ``low``, ``size`` (3,) of x, y, z float32; ``shape`` (3,) cells of z, y, x. Voxels
    come in the order of their first points, the first ``cap[b]`` of sample b; points of later ones are dropped.
    """
    number = len(values)
    voxel = np.empty(number, np.int32)
    room = 1024
    keys = np.empty(room, np.int64)
    # Open addressing: the table holds the row of a key, and grows with the voxels, not with the points.
    bits = 12
    table = np.full(1 << bits, -1, np.int32)
    used = np.zeros(len(cap), np.int64)
    rows = 0
    for point in range(number):
        x = np.floor((values[point, 0] - low[0]) / size[0])
        y = np.floor((values[point, 1] - low[1]) / size[1])
        z = np.floor((values[point, 2] - low[2]) / size[2])
        if not (0 <= x < shape[2] and 0 <= y < shape[1] and 0 <= z < shape[0]):
            voxel[point] = OUTSIDE
            continue
        owner = sample[point]
        key = ((owner * shape[0] + np.int64(z)) * shape[1] + np.int64(y)) * shape[2] + np.int64(x)
        slot = _slot(key, bits)
        while table[slot] >= 0 and keys[table[slot]] != key:
            slot = (slot + 1) & (len(table) - 1)
        row = table[slot]
        if row < 0:
            if used[owner] >= cap[owner]:
                voxel[point] = DROPPED
                continue
            used[owner] += 1
            if rows == room:
                room *= 2
                more = np.empty(room, np.int64)
                more[:rows] = keys
                keys = more
            row = np.int32(rows)
            keys[rows] = key
            table[slot] = row
            rows += 1
            if 2 * rows > len(table):
                bits += 1
                table = np.full(1 << bits, -1, np.int32)
                for old in range(rows):
                    slot = _slot(keys[old], bits)
                    while table[slot] >= 0:
                        slot = (slot + 1) & (len(table) - 1)
                    table[slot] = old
        voxel[point] = row
    return voxel, keys[:rows].copy()


@compiled
def fill_voxels(values: np.ndarray, voxel: np.ndarray, padded: np.ndarray, counts: np.ndarray) -> int:
    """Copy the first points of each voxel to ``padded`` (M, most, C) and count them; how many points were left out."""
    most = padded.shape[1]
    clipped = 0
    for point in range(len(voxel)):
        row = voxel[point]
        if row >= 0 and counts[row] < most:
            for column in range(values.shape[1]):
                padded[row, counts[row], column] = values[point, column]
            counts[row] += 1
        elif row != OUTSIDE:
            clipped += 1
    return clipped


@compiled
def _slot(key: int, bits: int) -> np.int64:
    """Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4): the high bits of a product."""
    return np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - bits))
