"""The floor of a forest: slope, undulation, roughness, and how high herbs and grass stand on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Terrain:
    """Heights in metres at the nodes of a square grid, linear along the sides of its cells.

    ``low`` (2,) position of the first node, ``step`` metres between nodes; ``ground`` and ``herbs`` (nodes along x,
    nodes along y) float32: height of the soil, and of the ground vegetation above it.
    """

    low: np.ndarray
    step: float
    ground: np.ndarray
    herbs: np.ndarray

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Height of the soil at positions of equal shape; beyond the grid that of its border."""
        u, v = (np.asarray(x) - self.low[0]) / self.step, (np.asarray(y) - self.low[1]) / self.step
        i = np.clip(np.floor(u).astype(int), 0, self.ground.shape[0] - 2)
        j = np.clip(np.floor(v).astype(int), 0, self.ground.shape[1] - 2)
        a, b = np.clip(u - i, 0, 1), np.clip(v - j, 0, 1)
        g = self.ground.astype(np.float64)
        near = g[i, j] * (1 - b) + g[i, j + 1] * b
        return near * (1 - a) + (g[i + 1, j] * (1 - b) + g[i + 1, j + 1] * b) * a


def terrain(
    half: float, step: float, slope: float, undulation: float, herbs: float, rng: np.random.Generator
) -> Terrain:
    """Random terrain over the square within ``half`` metres of the origin, height 0 at the origin.

    ``slope`` is a tangent in a random direction, ``undulation`` the amplitude in metres of waves of 40 m (shorter ones
    are lower in proportion), ``herbs`` the height in metres of the tallest ground vegetation, which grows in patches.
    """
    nodes = int(np.ceil(2 * half / step)) + 1
    axis = -half + step * np.arange(nodes)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    bearing = 2 * np.pi * rng.random()
    ground = slope * (x * np.cos(bearing) + y * np.sin(bearing))
    waves = _waves(x, y, np.array([60.0, 40, 30, 18, 11, 6]), rng)
    middle = nodes // 2
    ground = ground + undulation * (waves - waves[middle, middle])
    ground = ground + 0.02 * (rng.random(x.shape) + rng.random(x.shape) - 1)
    patches = _waves(x, y, np.array([25.0, 12, 7, 4]), rng) / 0.6
    cover = np.clip(0.45 + 0.5 * patches, 0, 1) * (0.4 + 0.6 * rng.random(x.shape))
    return Terrain(np.array([-half, -half]), step, ground.astype(np.float32), (herbs * cover).astype(np.float32))


def _waves(x: np.ndarray, y: np.ndarray, lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sum of waves in random directions, amplitude in proportion to wavelength and 1 at 40 m."""
    total = np.zeros_like(x)
    for length in lengths:
        bearing, phase = 2 * np.pi * rng.random(2)
        total += length / 40 * np.sin(2 * np.pi / length * (x * np.cos(bearing) + y * np.sin(bearing)) + phase)
    return total
