"""One point in each voxel of a square, whatever the density: what a method sees, and how its answer finds back.

Voxels do not depend on where the tiles begin; within a square they are counted from its corner. Memory depends on the
occupied voxels, not on the points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perception.ground import lowest_of_cells
from perception.io.files import write_atomically
from perception.io.las_tiles import LasTiles, Tile

NOISE = (7, 18)  # LAS 1.4 R15, table 17: low and high noise
CLASSIFICATION = "classification"
HEIGHT_BITS = 31
GROUND_CELL = 1.0  # metres

_DTYPE = np.dtype([("key", "<i8"), ("away", "<f4"), ("xyz", "<f8", (3,)), ("noise", "?")])


@dataclass(frozen=True, eq=False)
class Square:
    """The thinned points of a tile without its surroundings: ``keys`` (K,) ascending, ``xyz`` (K, 3) float32 about
    ``origin``, ``noise`` (K,) where the file calls them so.

    ``lowest`` (rows, columns): low heights of whole metres of ground from ``corner`` on, NaN where there is no point.
    """

    keys: np.ndarray
    xyz: np.ndarray
    origin: np.ndarray
    noise: np.ndarray
    lowest: np.ndarray
    corner: np.ndarray

    @property
    def world(self) -> np.ndarray:
        return self.xyz.astype(np.float64) + self.origin


def corner_of(tile: Tile) -> tuple[float, float]:
    """Lowest x y of a tile's square."""
    x, y = tile.start
    return x + tile.column * tile.size, y + tile.row * tile.size


def voxel_keys(xyz: np.ndarray, tile: Tile, voxel: float) -> np.ndarray:
    """The voxel (N,) int64 of points (N, 3) of a tile's square."""
    number = math.ceil(tile.size / voxel) + 1  # a voxel on the border of two squares is in both
    first = np.floor(np.array(corner_of(tile)) / voxel)
    flat = (np.floor(xyz[:, :2] / voxel) - first).astype(np.int64).clip(0, number - 1)
    half = 1 << (HEIGHT_BITS - 1)
    up = np.floor(xyz[:, 2] / voxel).clip(-half, half - 1).astype(np.int64) + half
    keys: np.ndarray = ((flat[:, 1] * number + flat[:, 0]) << HEIGHT_BITS) | up
    return keys


def thin_square(tiles: LasTiles, tile: Tile, voxel: float) -> Square:
    """Of each voxel the point nearest to its middle, the first of several; noise only where there is nothing else."""
    found = np.zeros(0, _DTYPE)
    for rows in tiles.rows(tile):
        part = _nearest_to_middle(rows, tile, voxel)
        found = _first_of_each(np.concatenate([found, part])) if len(found) else part
    # Whole metres: what methods cut into cells is then cut alike in all tiles.
    origin = np.floor([*tile.centre, np.median(found["xyz"][:, 2]) if len(found) else 0.0])
    corner = np.floor(np.array(corner_of(tile)) / GROUND_CELL) * GROUND_CELL
    cells = int(np.ceil((np.array(corner_of(tile)) + tile.size - corner).max() / GROUND_CELL))
    sound = found["xyz"][~found["noise"]]
    lowest = np.full((cells, cells), np.nan)
    if len(sound):
        lowest = lowest_of_cells(sound, corner, GROUND_CELL, (cells, cells))
    xyz = (found["xyz"] - origin).astype(np.float32)
    return Square(found["key"].copy(), xyz, origin, found["noise"].copy(), lowest, corner)


def _nearest_to_middle(rows: np.ndarray, tile: Tile, voxel: float) -> np.ndarray:
    thin = np.empty(len(rows), _DTYPE)
    xyz = rows["xyz"]
    thin["key"], thin["xyz"] = voxel_keys(xyz, tile, voxel), xyz
    place = xyz / voxel
    thin["away"] = ((place - np.floor(place) - 0.5) ** 2).sum(1)
    thin["noise"] = np.isin(rows[CLASSIFICATION], NOISE)
    return _first_of_each(thin)


def _first_of_each(thin: np.ndarray) -> np.ndarray:
    order = np.lexsort((thin["away"], thin["noise"], thin["key"]))
    key = thin["key"][order]
    return thin[order[np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])[: len(key)])]]


def keep_square(path: Path, square: Square) -> None:
    """Write a square, whole or not at all."""
    with write_atomically(path, "wb") as file:
        np.savez(file, allow_pickle=False, **{name: getattr(square, name) for name in Square.__dataclass_fields__})


def load_square(path: Path) -> Square:
    with np.load(path, allow_pickle=False) as found:
        return Square(**{name: found[name] for name in Square.__dataclass_fields__})
