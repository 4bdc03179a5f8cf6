"""A grid of cells over a forest, and in each the solids that reach into it: what makes rays cheap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perception.compiled import compiled
from perception.simulate.forest.parts import Parts
from perception.simulate.forest.terrain import Terrain


@dataclass(frozen=True, eq=False)
class CellGrid:
    """Cells (X, Y, Z) of ``step`` metres from ``low`` (3,); cell c = (ix Y + iy) Z + iz holds the solids
    ``members[first[c] : first[c + 1]]``; columns of cells are the cells of the terrain's grid. ``floor`` (X, Y): the
    highest that soil and herbs reach in a column."""

    low: np.ndarray
    step: float
    shape: tuple[int, int, int]
    first: np.ndarray
    members: np.ndarray
    floor: np.ndarray


def cell_grid(parts: Parts, ground: Terrain) -> CellGrid:
    """The grid over the terrain; solids beyond its borders are left out there."""
    step = ground.step
    bottom = float(ground.ground.min()) - 0.5
    top = max(float((ground.ground + ground.herbs).max()), float(parts.high[:, 2].max(initial=bottom))) + 0.1
    nx, ny = ground.ground.shape[0] - 1, ground.ground.shape[1] - 1
    shape = (nx, ny, int(np.ceil((top - bottom) / step)))
    low = np.array([*ground.low, bottom])
    first_cell = np.floor((parts.low - low) / step).astype(np.int64)
    last_cell = np.floor((parts.high - low) / step).astype(np.int64)
    inside = ((last_cell >= 0) & (first_cell < shape)).all(1)
    size = np.array(shape)
    first_cell, last_cell = np.clip(first_cell, 0, size - 1), np.clip(last_cell, 0, size - 1)
    last_cell[~inside] = first_cell[~inside] - 1
    count = _count(first_cell, last_cell, size)
    first = np.concatenate([[0], np.cumsum(count)])
    members = _fill(first_cell, last_cell, size, first.copy(), int(first[-1]))
    height = ground.ground + ground.herbs
    floor = np.maximum.reduce([height[:-1, :-1], height[1:, :-1], height[:-1, 1:], height[1:, 1:]])
    return CellGrid(low, step, shape, first, members, floor)


@compiled
def _count(first: np.ndarray, last: np.ndarray, size: np.ndarray) -> np.ndarray:
    count = np.zeros(size[0] * size[1] * size[2], np.int64)
    for p in range(len(first)):
        for i in range(first[p, 0], last[p, 0] + 1):
            for j in range(first[p, 1], last[p, 1] + 1):
                for k in range(first[p, 2], last[p, 2] + 1):
                    count[(i * size[1] + j) * size[2] + k] += 1
    return count


@compiled
def _fill(first: np.ndarray, last: np.ndarray, size: np.ndarray, place: np.ndarray, total: int) -> np.ndarray:
    members = np.empty(total, np.int32)
    for p in range(len(first)):
        for i in range(first[p, 0], last[p, 0] + 1):
            for j in range(first[p, 1], last[p, 1] + 1):
                for k in range(first[p, 2], last[p, 2] + 1):
                    cell = (i * size[1] + j) * size[2] + k
                    members[place[cell]] = p
                    place[cell] += 1
    return members
