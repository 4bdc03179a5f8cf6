"""Bodies of cars and vans, built from a few convex parts inside exactly their box.

Local frame: the box stands on z = 0, its centre above the origin, nose towards +x.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perception.simulate.shapes import Convex, Material, Pose, Shape, extruded

TYRE = Material(0.06)


@dataclass(frozen=True)
class Silhouette:
    """Side view of a type of car, as shares of length (0 rear bumper to 1 front bumper) and height.

    ``bonnet`` and ``boot``: where the windscreen and the rear window meet the body; ``roof``: rear and front end of
    the roof; ``belt``: height of the window sill; ``nose`` and ``tail``: heights of the body's two ends.
    """

    boot: float
    roof: tuple[float, float]
    bonnet: float
    belt: float
    nose: float
    tail: float


HATCHBACK = Silhouette(0.02, (0.10, 0.58), 0.78, 0.62, 0.46, 0.60)
SALOON = Silhouette(0.14, (0.28, 0.56), 0.74, 0.64, 0.47, 0.62)
ESTATE = Silhouette(0.02, (0.08, 0.58), 0.75, 0.62, 0.46, 0.60)
OFFROAD = Silhouette(0.01, (0.05, 0.60), 0.74, 0.60, 0.53, 0.58)
CITY = Silhouette(0.02, (0.09, 0.64), 0.86, 0.60, 0.45, 0.58)
DELIVERY = Silhouette(0.0, (0.01, 0.70), 0.88, 0.52, 0.42, 0.52)
CAR_TYPES = (HATCHBACK, HATCHBACK, SALOON, ESTATE, OFFROAD, CITY)


def vehicle(
    silhouette: Silhouette, size: tuple[float, float, float], paint: float, glazed: float = 0.7
) -> tuple[Shape, ...]:
    """Parts of a vehicle of length, width, height; ``paint`` its reflectance; ``glazed`` the share of rays that
    the cabin's windows let in, 0 for a closed one."""
    length, width, height = size
    scale, shift = np.array([length, height]), np.array([-length / 2, 0])
    s = silhouette
    coat = Material(paint, 0.97, 0.3)
    clearance = 0.13
    body = [(0.01, clearance), (0.99, clearance), (1, 0.25), (1, s.nose), (0.96, s.nose + 0.06), (s.bonnet, s.belt)]
    body += [(0.02, s.belt), (0, s.tail - 0.04)]
    cabin = [(s.boot, s.belt - 0.02), (s.bonnet, s.belt - 0.02), (s.roof[1], 0.97), (s.roof[0], 0.97)]
    roof = [(s.roof[0], 0.94), (s.roof[1], 0.94), (s.roof[1] - 0.04, 1), (s.roof[0] + 0.03, 1)]
    tumblehome = 0.085 * width if glazed > 0.3 else 0.03 * width
    # light that enters through windows comes back from the seats if at all
    glass = Material(paint * 0.6, 1 - glazed, 2.2)
    inner = 0.96 * width
    parts: list[Shape] = [
        extruded(_hull(body) * scale + shift, width, coat, taper=0.02 * width, chamfer=0.10 * width),
        extruded(np.array(cabin) * scale + shift, inner, glass, taper=tumblehome),
        extruded(np.array(roof) * scale + shift, inner - 1.8 * tumblehome, coat, taper=0.06, chamfer=0.05),
    ]
    radius = min(0.2 * height, 0.36) if glazed > 0.3 else 0.34
    for x in (-0.30 * length, 0.31 * length):
        parts.extend(wheel(radius, 0.19, TYRE).placed(Pose(x, y * (width / 2 - 0.11), 0)) for y in (-1, 1))
    return tuple(parts)


def wheel(radius: float, width: float, material: Material) -> Convex:
    """A wheel standing on z = 0, turning about y."""
    angle = np.arange(12) * np.pi / 6
    return extruded(np.stack([radius * np.cos(angle), radius * (1 + np.sin(angle))], -1), width, material)


def car(rng: np.random.Generator) -> tuple[tuple[float, float, float], tuple[Shape, ...]]:
    """Size and parts of a random car of European proportions."""
    silhouette = CAR_TYPES[int(rng.random() * len(CAR_TYPES))]
    longer = {id(SALOON): 0.45, id(ESTATE): 0.5, id(CITY): -0.5}.get(id(silhouette), 0.0)
    length = 3.78 + longer + 0.55 * (rng.random() + rng.random() - 1)
    width = 1.44 + 0.035 * length + 0.28 * (rng.random() - 0.5)
    height = (1.72 if silhouette is OFFROAD else 1.48) + 0.2 * (rng.random() - 0.5)
    size = (length, width, height)
    return size, vehicle(silhouette, size, _paint(rng), glazed=0.5 + 0.45 * rng.random())


def van(rng: np.random.Generator) -> tuple[tuple[float, float, float], tuple[Shape, ...]]:
    """Size and parts of a random delivery van."""
    size = (4.6 + 1.2 * rng.random(), 1.8 + 0.2 * rng.random(), 1.9 + 0.6 * rng.random())
    return size, vehicle(DELIVERY, size, _paint(rng), glazed=0.1)


def _paint(rng: np.random.Generator) -> float:
    return float(rng.choice([0.06, 0.12, 0.25, 0.4, 0.55])) * (0.8 + 0.4 * rng.random())


def _hull(points: list[tuple[float, float]]) -> np.ndarray:
    """The outline with any dent bridged, counter-clockwise: Andrew's monotone chain."""
    ordered = sorted(points)

    def chain(sequence: list[tuple[float, float]]) -> list[tuple[float, float]]:
        kept: list[tuple[float, float]] = []
        for p in sequence:
            while len(kept) > 1 and _turn(kept[-2], kept[-1], p) <= 0:
                kept.pop()
            kept.append(p)
        return kept[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
