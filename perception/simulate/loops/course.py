"""Closed ways: where a street or a path through a forest runs, and the ground under it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

STEP = 1.0  # metres between points of a centreline
CELL = 1.0  # metres of the raster of distances to it


@dataclass(frozen=True, eq=False)
class Course:
    """A closed centreline: ``points`` (M, 2) metres about one apart, ``headings`` (M,) radians, counter-clockwise."""

    points: np.ndarray
    headings: np.ndarray

    @property
    def length(self) -> float:
        return len(self.points) * STEP

    def place(self, along: float, across: float, heading: float = 0.0) -> tuple[float, float, float]:
        """x, y and heading at metres along the way and to the left of it; ``heading`` is relative to the way's."""
        row = round(along / STEP) % len(self.points)
        angle = float(self.headings[row])
        x, y = self.points[row] + across * np.array([-math.sin(angle), math.cos(angle)])
        return float(x), float(y), angle + heading


def closed_course(length: float, rng: np.random.Generator) -> Course:
    """A random way around: between an oval and a block with rounded corners, with bends."""
    turn = np.linspace(0, math.tau, 4000, endpoint=False)
    power, stretch = 2 + 4 * rng.random(), 0.6 + 0.4 * rng.random()
    radius = (np.abs(np.cos(turn)) ** power + np.abs(np.sin(turn) / stretch) ** power) ** (-1 / power)
    for wave in (2, 3, 4, 5):
        radius = radius * (1 + 0.25 * rng.random() / wave * np.cos(wave * turn + math.tau * rng.random()))
    line = radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)
    closed = np.concatenate([line, line[:1]])
    way = np.concatenate([[0], np.linalg.norm(np.diff(closed, axis=0), axis=1).cumsum()])
    count = round(length / STEP)
    at = np.arange(count) / count * way[-1]
    points = np.stack([np.interp(at, way, closed[:, axis]) for axis in (0, 1)], 1) * (count * STEP / way[-1])
    ahead = np.roll(points, -3, 0) - np.roll(points, 3, 0)
    return Course(points, np.arctan2(ahead[:, 1], ahead[:, 0]))


@dataclass(frozen=True, eq=False)
class CourseGround:
    """Gentle hills, and a kerb of ``kerb`` metres at ``half`` metres beside the centreline.

    ``waves`` (W, 4): amplitude, wave numbers along x and y in 1/m, phase. ``beside`` (rows, columns) is the distance
    to the centreline on a raster of one metre from ``corner`` on, y by x.
    """

    waves: np.ndarray
    beside: np.ndarray
    corner: np.ndarray
    half: float
    kerb: float

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Metres to the centreline, to the next metre or so."""
        rows, columns = self.beside.shape
        column = np.clip(((x - self.corner[0]) / CELL).astype(np.int64), 0, columns - 1)
        row = np.clip(((y - self.corner[1]) / CELL).astype(np.int64), 0, rows - 1)
        return np.asarray(self.beside[row, column])

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        z = np.zeros(np.shape(x))
        for amplitude, kx, ky, phase in self.waves:
            z = z + amplitude * np.sin(kx * x + ky * y + phase)
        return z + self.kerb * np.clip(self.distance(x, y) - self.half, 0, 1)

    def reflectance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        beyond = self.distance(x, y) - self.half
        return np.where(beyond < 0, 0.24, np.where(beyond < 3, 0.30, 0.38))


def course_ground(course: Course, half: float, kerb: float, hills: float, rng: np.random.Generator) -> CourseGround:
    """The ground about a way; ``hills`` is the steepest slope of each of its three waves."""
    border = 100.0
    corner = course.points.min(0) - border
    size = np.ceil((course.points.max(0) + border - corner) / CELL).astype(int)
    x, y = np.meshgrid(*(corner[axis] + (np.arange(size[axis]) + 0.5) * CELL for axis in (0, 1)))
    beside = cKDTree(course.points).query(np.stack([x.ravel(), y.ravel()], 1))[0].reshape(x.shape).astype(np.float32)
    number = math.tau / (30 + 120 * rng.random(3))
    bearing = math.tau * rng.random(3)
    amplitude = hills * rng.random(3) / number
    waves = np.stack([amplitude, number * np.cos(bearing), number * np.sin(bearing), math.tau * rng.random(3)], 1)
    return CourseGround(waves, beside, corner, half, kerb)
