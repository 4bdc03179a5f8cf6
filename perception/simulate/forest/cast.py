"""Rays of a scanner cast into a forest until a plot has the wanted density."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from perception.errors import PerceptionError
from perception.simulate.forest.grid import CellGrid
from perception.simulate.forest.kernels import HERBS, SOIL, trace
from perception.simulate.forest.parts import LOW_VEGETATION, TERRAIN, Parts
from perception.simulate.forest.scanners import ForestRays, Scanner
from perception.simulate.forest.terrain import Terrain

CHUNK = 200_000
TRIAL = 20_000
MOST_RAYS = 100_000_000


@dataclass(frozen=True, eq=False)
class Echoes:
    """N returns: ``xyz`` (N, 3) float32, ``energy`` received (1: all of a pulse), ``number`` ``of`` its pulse's
    returns from 1, ``time`` seconds, ``source``, ``tree`` and ``semantic`` class of what was met."""

    xyz: np.ndarray
    energy: np.ndarray
    number: np.ndarray
    of: np.ndarray
    time: np.ndarray
    source: np.ndarray
    tree: np.ndarray
    semantic: np.ndarray

    def select(self, rows: np.ndarray) -> Echoes:
        """The returns of a mask."""
        return Echoes(*(getattr(self, f.name)[rows] for f in fields(Echoes)))


def cast_forest(
    scanner: Scanner,
    parts: Parts,
    grid: CellGrid,
    ground: Terrain,
    half: float,
    density: float,
    seed: int,
    rng: np.random.Generator,
) -> Echoes:
    """Returns within ``half`` metres of the origin along x and y, about ``density`` of them a square metre.

    A trial with few rays tells how many points a ray gives in the plot; pulses are aimed a little beyond its border.
    """
    wide = half + 2.0
    seeds = rng.integers(0, 2**31, 3)
    trial = scanner.rays(TRIAL, wide, ground, np.random.Generator(np.random.PCG64(int(seeds[0]))))
    points = _within(_trace(scanner, trial, parts, grid, ground, half + 1.0, seed + 1), half)
    yield_of_ray = points.sum() / len(trial.time)
    if yield_of_ray <= 0:
        raise PerceptionError("a scanner that sees nothing of the plot", "beams that reach it", "look at its ranges")
    count = int(np.ceil(density * (2 * half) ** 2 / yield_of_ray))
    if count > MOST_RAYS:
        raise PerceptionError(f"{count:,} rays for {density} points a square metre", f"at most {MOST_RAYS:,}")
    rays = scanner.rays(count, wide, ground, np.random.Generator(np.random.PCG64(int(seeds[1]))))
    found = _trace(scanner, rays, parts, grid, ground, half + 1.0, seed)
    found = _drifted(found, scanner.drift, np.random.Generator(np.random.PCG64(int(seeds[2]))))
    return found.select(_within(found, half))


def _within(found: Echoes, half: float) -> np.ndarray:
    return (np.abs(found.xyz[:, :2]) <= half).all(1)


def _trace(
    scanner: Scanner, rays: ForestRays, parts: Parts, grid: CellGrid, ground: Terrain, border: float, seed: int
) -> Echoes:
    beam = scanner.beam
    reach = np.array([beam.near, beam.far])
    values = np.array([beam.width, beam.divergence, *beam.taken, beam.weakest, beam.separation])
    chunks = []
    for start in range(0, len(rays.time), CHUNK):
        rows = slice(start, start + CHUNK)
        answer = trace(
            rays.origins[rows], rays.directions[rows], start, seed, reach, values, beam.most, border,
            grid.low, grid.step, grid.first, grid.members, grid.floor, grid.shape[2], ground.ground, ground.herbs,
            parts.kind, parts.shape, parts.extinction, parts.reflectance,
        )  # fmt: skip
        chunks.append(_echoes(rays, start, *answer, parts, beam.noise, seed))
    return Echoes(*(np.concatenate([getattr(c, f.name) for c in chunks]) for f in fields(Echoes)))


def _echoes(
    rays: ForestRays,
    start: int,
    distance: np.ndarray,
    solid: np.ndarray,
    energy: np.ndarray,
    parts: Parts,
    noise: float,
    seed: int,
) -> Echoes:
    met = np.isfinite(distance)
    ray, number = np.nonzero(met)
    rng = np.random.Generator(np.random.PCG64([seed, start, 14]))
    error = noise * 2 * (rng.random((3, len(ray))).sum(0) - 1.5)
    reach = distance[met].astype(np.float64) + error
    part = solid[met]
    row = start + ray
    owned = np.maximum(part, 0)
    xyz = rays.origins[row].astype(np.float64) + rays.directions[row] * reach[:, None]
    none = len(parts) == 0
    tree = np.zeros(len(part), np.int32) if none else np.where(part >= 0, parts.tree[owned], 0)
    semantic = np.zeros(len(part), np.uint8) if none else parts.semantic[owned]
    semantic = np.where(part == SOIL, TERRAIN, np.where(part == HERBS, LOW_VEGETATION, semantic))
    return Echoes(
        xyz.astype(np.float32),
        energy[met] * (0.8 + 0.4 * rng.random(len(ray))).astype(np.float32),
        (number + 1).astype(np.uint8),
        met.sum(1)[ray].astype(np.uint8),
        rays.time[row],
        rays.source[row],
        tree.astype(np.int32),
        semantic.astype(np.uint8),
    )


def _drifted(found: Echoes, amplitude: float, rng: np.random.Generator) -> Echoes:
    """Points as a scanner places them whose own position is wrong by a slowly changing offset."""
    if amplitude <= 0:
        return found
    offset = np.zeros((len(found.time), 3))
    for period in (180.0, 95.0, 41.0):
        phase = 2 * np.pi * rng.random(3)
        share = amplitude * (period / 316) * np.array([1.0, 1.0, 0.6])
        offset += share * np.sin(2 * np.pi * found.time[:, None] / period + phase)
    values = {f.name: getattr(found, f.name) for f in fields(Echoes)}
    return Echoes(**{**values, "xyz": (found.xyz + offset).astype(np.float32)})
