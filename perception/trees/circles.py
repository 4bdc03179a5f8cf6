"""Circles through points of stems: robust against branches, leaves and the returns of a neighbour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Circle:
    """Centre x y and ``radius`` in metres; ``share`` of the points within the tolerance of it, and ``arc``, the share
    of directions from its centre in which there are some."""

    x: float
    y: float
    radius: float
    share: float
    arc: float

    @property
    def sound(self) -> bool:
        """Whether half of the points lie on it, on a third of its round at least."""
        return self.share >= 0.5 and self.arc >= 0.33


def fit_circle(
    xy: np.ndarray, smallest: float = 0.02, largest: float = 1.0, tolerance: float = 0.02, tries: int = 200
) -> Circle | None:
    """The circle with the most of ``xy`` (N, 2) near it (RANSAC with a fixed seed), refined by least squares on those.

    None if there are fewer than six points or no circle between the radii.
    """
    if len(xy) < 6:
        return None
    xy = np.asarray(xy, np.float64)
    middle = xy.mean(0)
    points = xy - middle
    points = points[np.lexsort(points.T)]  # the answer must not depend on the order of points
    triples = points[np.random.default_rng(0).integers(0, len(points), (tries, 3))]
    centres, radii = _through(triples)
    sane = np.isfinite(radii) & (radii >= smallest) & (radii <= largest)
    if not sane.any():
        return None
    centres, radii = centres[sane], radii[sane]
    away = np.abs(np.linalg.norm(points[None] - centres[:, None], axis=2) - radii[:, None])
    best = int((away <= tolerance).sum(1).argmax())
    near = away[best] <= tolerance
    centre, radius = centres[best], radii[best]
    for _ in range(3):
        if near.sum() < 4:
            break
        refined = least_squares_circle(points[near])
        if refined is None or not smallest <= refined[1] <= largest:
            break
        centre, radius = refined
        near = np.abs(np.linalg.norm(points - centre, axis=1) - radius) <= tolerance
    angle = np.arctan2(*(points[near] - centre).T[::-1])
    arc = len(np.unique(np.floor((angle + np.pi) / (2 * np.pi) * 24).astype(int) % 24)) / 24
    x, y = centre + middle
    return Circle(float(x), float(y), float(radius), float(near.mean()), arc)


def least_squares_circle(xy: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Centre and radius that minimise the squares of x^2 + y^2 - 2 a x - 2 b y - c (Kasa 1976); None for a line."""
    system = np.column_stack([2 * xy, np.ones(len(xy))])
    solution, _, rank, _ = np.linalg.lstsq(system, (xy**2).sum(1), rcond=None)
    square = solution[2] + solution[0] ** 2 + solution[1] ** 2
    return (solution[:2], float(np.sqrt(square))) if rank == 3 and square > 0 else None


def _through(triples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres (T, 2) and radii (T,) of circles through three points (T, 3, 2); not finite where they are in line."""
    a, b, c = triples[:, 0], triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0]
    double = 2 * (b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0])
    bb, cc = (b**2).sum(1), (c**2).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = (c[:, 1] * bb - b[:, 1] * cc) / double
        y = (b[:, 0] * cc - c[:, 0] * bb) / double
    return np.column_stack([x, y]) + a, np.hypot(x, y)
