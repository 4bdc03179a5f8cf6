"""What stands beside a closed way: a street of changing districts, or a forest."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from perception.errors import PerceptionError, nearest
from perception.simulate.loops.course import Course, CourseGround, closed_course, course_ground
from perception.simulate.shapes import Cylinder, Ellipsoid, Pose, Shape
from perception.simulate.street import scenery, vehicles

CLUTTER = scenery.CLUTTER
KINDS = ("street", "forest")
DISTRICT = 70.0  # metres of a street of one character
CROWN = 4.0  # metres by which crowns reach over their footprints


@dataclass(eq=False)
class World:
    """A world being filled, in its own frame. Of each thing: its ``parts``, its ``place`` (x, y, radius about it) and
    whether it ``stays``: parked cars are others at each lap."""

    course: Course
    ground: CourseGround
    kind: str
    parts: list[tuple[Shape, ...]] = field(default_factory=list)
    place: list[tuple[float, float, float]] = field(default_factory=list)
    stays: list[bool] = field(default_factory=list)

    def put(self, thing: scenery.Thing, at: tuple[float, float, float], stays: bool = True, alone: bool = True) -> bool:
        """Stand a thing at (x, y, heading); ``alone``: only where the discs about the footprints leave it room."""
        (length, width), parts = thing
        radius, x, y = math.hypot(length, width) / 2, at[0], at[1]
        if float(self.ground.distance(np.array(x), np.array(y))) < self.ground.half + min(width, length) / 2 - 2.3:
            return False  # a bend of the way comes by here
        if alone and self.place:
            others = np.array(self.place)
            apart = np.hypot(others[:, 0] - x, others[:, 1] - y)
            if (apart < 0.6 * (others[:, 2] - CROWN + radius)).any():
                return False
        pose = Pose(x, y, float(self.ground.height(np.array(x), np.array(y))), at[2])
        self.parts.append(tuple(part.placed(pose) for part in parts))
        self.place.append((x, y, radius + CROWN))
        self.stays.append(stays)
        return True


def make_world(kind: str, length: float, seed: int) -> World:
    """The world of a seed, ``length`` metres around. Raises PerceptionError for an unknown kind."""
    if kind not in KINDS:
        raise PerceptionError(f"a world of kind {kind!r}", f"one of {', '.join(KINDS)}", nearest(kind, KINDS))
    rng = np.random.Generator(np.random.PCG64([seed, 31]))
    course = world_course(length, seed)
    if kind == "forest":
        world = World(course, course_ground(course, 1.5, 0.1, 0.04, rng), kind)
        _forest(world, rng)
        return world
    world = World(course, course_ground(course, 2.8 + 2.7 * rng.random(), 0.15 * rng.random(), 0.02, rng), kind)
    for side in (-1, 1):
        _street_side(world, side, rng)
    return world


def world_course(length: float, seed: int) -> Course:
    """The way of a world, without what stands beside it."""
    return closed_course(length, np.random.Generator(np.random.PCG64([seed, 30])))


def _street_side(world: World, side: int, rng: np.random.Generator) -> None:
    """District by district: parked cars, what stands on the pavement, and the frontage behind it."""
    kerb, facing = world.ground.half, 0.0 if side > 0 else math.pi
    for start in np.arange(0, world.course.length, DISTRICT):
        pavement, built, setback = 1.5 + 3 * rng.random(), rng.random(), 12 * rng.random() ** 2
        parked, trees, clutter = 0.7 * rng.random() ** 2, rng.random(), rng.random()
        end = min(start + DISTRICT, world.course.length)
        along = start + 6 * rng.random()
        while along < end:
            length = 5 + 16 * rng.random() ** 1.5
            middle, along = along + length / 2, along + length + (rng.random() < 0.35) * 8 * rng.random()
            if rng.random() < built:
                thing = scenery.house(rng, length)
                world.put(thing, world.course.place(middle, side * (kerb + pavement + setback + 4), facing))
            elif rng.random() < 0.7:
                border: Callable[..., scenery.Thing] = (scenery.wall, scenery.fence, scenery.hedge)[
                    int(3 * rng.random())
                ]
                world.put(
                    border(rng, length), world.course.place(middle, side * (kerb + pavement), facing), alone=False
                )
        for slot in np.arange(start, end, 5.5):
            if rng.random() < parked:
                size, parts = (vehicles.van if rng.random() < 0.15 else vehicles.car)(rng)
                at = world.course.place(slot, side * (kerb - 0.9), facing)
                world.put((size[:2], parts), at, stays=rng.random() < 0.4, alone=False)
            for share, catalogue in ((0.5 * trees, (scenery.tree,)), (0.3, (scenery.pole,)), (0.6 * clutter, CLUTTER)):
                if rng.random() < share:
                    across = kerb + 0.7 + (6 + setback) * rng.random() ** 2
                    at = world.course.place(slot + 4 * rng.random(), side * across, math.tau * rng.random())
                    world.put(catalogue[int(len(catalogue) * rng.random())](rng), at)


def _forest(world: World, rng: np.random.Generator) -> None:
    """Trees and bushes of changing density within 50 m of the way."""
    low, high = world.course.points.min(0) - 50, world.course.points.max(0) + 50
    waves = rng.random((3, 4)) * [0.08, 0.08, math.tau, 1]
    count = int(np.prod(high - low) * (0.012 + 0.02 * rng.random()))
    for x, y in low + (high - low) * rng.random((count, 2)):
        thick = 0.5 + sum(w[3] * math.sin(w[0] * x + w[1] * y + w[2]) for w in waves) / 3
        distance = float(world.ground.distance(np.array(x), np.array(y)))
        if 2.2 < distance < 50 and rng.random() < thick:
            thing = scenery.bush(rng) if rng.random() < 0.12 else forest_tree(rng)
            world.put(thing, (x, y, math.tau * rng.random()), alone=False)


def forest_tree(rng: np.random.Generator) -> scenery.Thing:
    """A tree of the forest: a long stem, a crown that begins high."""
    radius, height = 0.08 + 0.3 * rng.random() ** 2, 7 + 16 * rng.random()
    crown = height * (0.12 + 0.12 * rng.random())
    start = height * (0.15 + 0.5 * rng.random())
    parts: list[Shape] = [Cylinder(np.array([0, 0, -0.3]), radius, 0.9 * height, scenery.BARK)]
    for level in np.linspace(start, height, 2 + int(2 * rng.random())):
        radii = np.array([crown, crown, 0.35 * (height - start)]) * (0.6 + 0.6 * rng.random(3))
        parts.append(Ellipsoid(np.array([*(0.4 * crown * (rng.random(2) - 0.5)), level]), radii, scenery.LEAVES))
    return (0.6, 0.6), tuple(parts)
