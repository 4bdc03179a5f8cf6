"""What a tile shows to a method: its own square and some metres around it, above the ground of a wide surrounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perception.ground import Ground, ground_beneath
from perception.io.las_tiles import Tile
from perception.points import PointCloud
from perception.trees.forest.thinning import GROUND_CELL, load_square

AROUND = [(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)]
WIDEST_BUSH = 15.0  # metres; nothing wider stands in a forest that could pass for ground
GROUND_REACH = 60.0  # metres around a tile that decide about its ground: filters reach 30, gaps some more
STRAY_CELL, STRAY_POINTS = 2.0, 3
Slot = tuple[int, int]
"""Columns and rows from a tile to the square in question."""


@dataclass(frozen=True, eq=False)
class ThinTile:
    """``cloud`` of the points that stand for the voxels, one square after the other, their ``keys`` (K,), and their
    height ``above`` the ground (K,). ``slots``: which square each part lies in, as (slot, first row, end).

    ``seen`` (n,): the rows that a method is to see.
    """

    tile: Tile
    cloud: PointCloud
    keys: np.ndarray
    above: np.ndarray
    slots: tuple[tuple[Slot, int, int], ...]
    seen: np.ndarray


def see(tile: Tile, margin: float, tallest: float, path_of: Callable[[int, int], Path | None]) -> ThinTile:
    """Put a tile together from kept squares; ``path_of`` names the file of a column and a row, None for empty ones."""
    parts, slots, done = [], [], 0
    for x, y in AROUND:
        path = path_of(tile.column + x, tile.row + y)
        if path is None:
            continue
        square = load_square(path)
        world = square.world
        inside = np.flatnonzero((np.abs(world[:, :2] - tile.centre) <= tile.size / 2 + margin).all(1))
        if (x, y) == (0, 0):
            inside = np.arange(len(world))  # all of its own, whatever rounding says
        if len(inside):
            parts.append((world[inside], square.keys[inside], square.noise[inside]))
            slots.append(((x, y), done, done + len(inside)))
            done += len(inside)
    world = np.concatenate([np.zeros((0, 3)), *(part[0] for part in parts)])
    keys = np.concatenate([np.zeros(0, np.int64), *(part[1] for part in parts)])
    noise = np.concatenate([np.zeros(0, bool), *(part[2] for part in parts)])
    origin = np.floor([*tile.centre, np.median(world[:, 2]) if done else 0.0])
    ground = ground_of(tile, path_of)
    above = world[:, 2] - ground.at(world[:, :2])
    cloud = PointCloud((world - origin).astype(np.float32), origin=origin, frame="map")
    return ThinTile(tile, cloud, keys, above, tuple(slots), seen_by_method(world, noise, tallest))


def ground_of(tile: Tile, path_of: Callable[[int, int], Path | None]) -> Ground:
    """The ground beneath a tile, from so wide a surrounding that its neighbours find the same where they meet."""
    reach = int(np.ceil(GROUND_REACH / tile.size))
    grids = []
    for y in range(-reach, reach + 1):
        for x in range(-reach, reach + 1):
            path = path_of(tile.column + x, tile.row + y)
            if path is not None:
                with np.load(path, allow_pickle=False) as found:
                    grids.append((found["lowest"], found["corner"]))
    if not grids:
        return Ground(np.zeros((1, 1)), tile.centre, GROUND_CELL)
    half = tile.size / 2 + GROUND_REACH
    low = np.floor((np.array(tile.centre) - half) / GROUND_CELL).astype(np.int64)
    number = int(np.ceil(2 * half / GROUND_CELL)) + 1
    lowest = np.full((number, number), np.nan)
    for grid, corner in grids:
        _lay_into(lowest, grid, np.round(corner / GROUND_CELL).astype(np.int64) - low)
    corner = low * GROUND_CELL
    return ground_beneath(lowest, (float(corner[0]), float(corner[1])), GROUND_CELL, WIDEST_BUSH)


def _lay_into(whole: np.ndarray, grid: np.ndarray, place: np.ndarray) -> None:
    """Lower what is known of ``whole`` by a grid whose first column and row are ``place``; what is outside is lost."""
    first, end = np.maximum(place, 0), np.minimum(place + grid.shape[::-1], whole.shape[::-1])
    if (end <= first).any():
        return
    part = tuple(slice(a, b) for a, b in zip(first[::-1], end[::-1]))
    own = tuple(slice(a - p, b - p) for a, b, p in zip(first[::-1], end[::-1], place[::-1]))
    whole[part] = np.fmin(whole[part], grid[own])  # a metre on the line between two squares is in both


def seen_by_method(world: np.ndarray, noise: np.ndarray, tallest: float) -> np.ndarray:
    """Rows (n,) without noise, without what is absurdly high or low, and without points alone in the air."""
    rows = np.flatnonzero(~noise)
    if not len(rows):
        return rows
    z = world[rows, 2]
    rows = rows[np.abs(z - np.median(z)) <= tallest]
    return rows[~strays(world[rows])]


def strays(world: np.ndarray) -> np.ndarray:
    """Points (N,) bool in cells of 2 m with at most three points and no occupied cell around them."""
    if not len(world):
        return np.zeros(0, bool)
    place = np.floor(world / STRAY_CELL).astype(np.int64)
    place -= place.min(0) - 1
    width = place.max(0) + 2
    key = (place[:, 0] * width[1] + place[:, 1]) * width[2] + place[:, 2]
    cells, cell, counts = np.unique(key, return_inverse=True, return_counts=True)
    few = np.flatnonzero(counts <= STRAY_POINTS)
    alone = np.ones(len(few), bool)
    for step in range(27):
        if step == 13:
            continue
        move = ((step // 9 - 1) * width[1] + step // 3 % 3 - 1) * width[2] + step % 3 - 1
        wanted = cells[few] + move
        near = np.searchsorted(cells, wanted).clip(max=len(cells) - 1)
        alone &= cells[near] != wanted
    lonely = np.zeros(len(cells), bool)
    lonely[few[alone]] = True
    return np.asarray(lonely[cell])
