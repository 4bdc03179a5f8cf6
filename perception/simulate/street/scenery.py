"""What stands beside a street and is not labelled: houses, walls, hedges, trees, poles, bins.

Each function gives the footprint (length, width) in metres and the parts, standing on z = 0 of the local frame.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from perception.simulate.shapes import Cylinder, Ellipsoid, Material, Pose, Shape, cuboid

Thing = tuple[tuple[float, float], tuple[Shape, ...]]
LEAVES = Material(0.32, 0.1, 0.9)
HEDGE = Material(0.33, 0.35, 0.18)
BARK = Material(0.3)


def house(rng: np.random.Generator, length: float) -> Thing:
    """A facade with windows that swallow some rays and a few porches or bays towards the street (-y)."""
    depth, height = 8 + 4 * rng.random(), 3.5 + 9 * rng.random()
    stone = Material(0.25 + 0.3 * rng.random(), 0.9, 0.25)
    parts: list[Shape] = [cuboid((length, depth, height), stone)]
    for _ in range(int(rng.random() * 4)):
        size = (1 + 2.5 * rng.random(), 0.3 + 1.2 * rng.random(), 0.4 + 2.8 * rng.random())
        place = Pose((length - size[0]) * (rng.random() - 0.5), -depth / 2 - size[1] / 2, 0)
        parts.append(cuboid(size, stone, place))
    return (length, depth + 3), tuple(parts)


def wall(rng: np.random.Generator, length: float) -> Thing:
    """A garden wall."""
    return (length, 0.35), (cuboid((length, 0.3, 0.6 + 1.5 * rng.random()), Material(0.2 + 0.3 * rng.random())),)


def fence(rng: np.random.Generator, length: float) -> Thing:
    """A fence that lets about half of the rays through."""
    slats = Material(0.3, 0.2 + 0.5 * rng.random(), 0.1)
    return (length, 0.2), (cuboid((length, 0.06, 0.9 + 0.8 * rng.random()), slats),)


def hedge(rng: np.random.Generator, length: float) -> Thing:
    """A trimmed hedge with an uneven face."""
    width, height = 0.6 + 0.9 * rng.random(), 0.8 + 1.4 * rng.random()
    parts: list[Shape] = [cuboid((length, 0.8 * width, height), HEDGE)]
    for x in np.arange(-length / 2 + 0.8, length / 2 - 0.8, 1.1 + rng.random()):
        radii = np.array([0.8, 0.6 * width, 0.5 * height]) * (0.8 + 0.3 * rng.random())
        parts.append(Ellipsoid(np.array([x, 0, 0.55 * height]), radii, HEDGE))
    return (length, 1.4 * width), tuple(parts)


def bush(rng: np.random.Generator) -> Thing:
    """A free-growing bush, of sizes up to that of a car."""
    reach = 0.5 + 1.0 * rng.random()
    parts: list[Shape] = []
    for _ in range(2 + int(3 * rng.random())):
        radii = reach * (0.5 + 0.4 * rng.random(3))
        centre = np.array([*(reach * (rng.random(2) - 0.5)), 0.7 * radii[2]])
        parts.append(Ellipsoid(centre, radii, LEAVES if rng.random() < 0.5 else HEDGE))
    return (2 * reach, 2 * reach), tuple(parts)


def tree(rng: np.random.Generator) -> Thing:
    """A street tree: trunk and a crown of overlapping ellipsoids of leaves."""
    clear, radius = 1.6 + 1.8 * rng.random(), 0.08 + 0.17 * rng.random()
    crown = 1.2 + 1.8 * rng.random()
    parts: list[Shape] = [Cylinder(np.array([0, 0, -0.3]), radius, clear + 1.3, BARK)]
    for _ in range(3 + int(3 * rng.random())):
        centre = np.array([*(crown * (rng.random(2) - 0.5)), clear + crown * (0.5 + 0.6 * rng.random())])
        parts.append(Ellipsoid(centre, crown * (0.5 + 0.4 * rng.random(3)), LEAVES))
    return (0.8, 0.8), tuple(parts)


def pole(rng: np.random.Generator) -> Thing:
    """A lamp post or a traffic sign."""
    if rng.random() < 0.5:
        return (0.4, 0.4), (Cylinder(np.zeros(3), 0.05 + 0.07 * rng.random(), 5 + 4 * rng.random(), Material(0.35)),)
    bottom = 1.6 + 0.7 * rng.random()
    plate = cuboid((0.03, 0.6, 0.6), Material(0.98), Pose(0.06, 0, bottom))
    return (0.4, 0.7), (Cylinder(np.zeros(3), 0.04, bottom + 0.7, Material(0.4)), plate)


def bollard(rng: np.random.Generator) -> Thing:
    """A low post."""
    return (0.4, 0.4), (Cylinder(np.zeros(3), 0.06 + 0.1 * rng.random(), 0.7 + 0.4 * rng.random(), Material(0.3)),)


def bin_or_cabinet(rng: np.random.Generator) -> Thing:
    """A waste bin, a switch cabinet or a stack of goods."""
    size = (0.5 + 0.7 * rng.random(), 0.4 + 0.4 * rng.random(), 0.8 + 0.7 * rng.random())
    return size[:2], (cuboid(size, Material(0.15 + 0.4 * rng.random())),)


def container(rng: np.random.Generator) -> Thing:
    """A skip or a shed: the size of a car, but a plain box."""
    size = (2 + 2.5 * rng.random(), 1.4 + 0.9 * rng.random(), 1.1 + 1.2 * rng.random())
    return size[:2], (cuboid(size, Material(0.15 + 0.4 * rng.random())),)


def truck(rng: np.random.Generator) -> Thing:
    """A lorry: cab and cargo box."""
    length = 6 + 4 * rng.random()
    height = 2.6 + 0.9 * rng.random()
    paint = Material(0.2 + 0.4 * rng.random())
    cargo = cuboid((length - 2.2, 2.4, height - 0.7), paint, Pose(-1.1, 0, 0.7))
    cab = cuboid(
        (2.0, 2.3, 0.85 * height - 0.4), Material(paint.reflectance, 0.75, 1.0), Pose(length / 2 - 1.0, 0, 0.4)
    )
    axles = [cuboid((0.9, 2.3, 0.9), Material(0.08), Pose(x, 0, 0)) for x in (-0.3 * length, 0.36 * length)]
    return (length, 2.5), (cargo, cab, *axles)


CLUTTER: tuple[Callable[[np.random.Generator], Thing], ...] = (bush, bush, bin_or_cabinet, bollard, pole, container)
