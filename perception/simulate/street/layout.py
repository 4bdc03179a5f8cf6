"""Where things stand in a street: lanes, parking rows, pavements and frontages on both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from perception.simulate.ground import Ground
from perception.simulate.sensor import Lidar
from perception.simulate.shapes import Pose, Shape
from perception.simulate.street import people, scenery, vehicles

BEHIND, AHEAD = -75.0, 90.0
MARGIN = np.array([0.05, 0.05, 0.03])
"""Metres by which boxes exceed bodies: annotators enclose the noise of returns too."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """An object of a class: ``box`` is x, y, z, length, width, height, heading in the sensor's frame; speed in m/s."""

    name: str
    box: tuple[float, ...]
    speed: float


@dataclass(eq=False)
class Scene:
    """A street being filled; things that would overlap earlier ones are left out."""

    ground: Ground
    groups: list[tuple[Shape, ...]] = field(default_factory=list)
    labels: list[Labelled | None] = field(default_factory=list)
    taken: list[np.ndarray] = field(default_factory=list)

    def pose(self, along: float, across: float, heading: float) -> Pose:
        """A place of the street (metres along and left of its axis, heading relative to it) in the sensor's frame."""
        g = self.ground
        cos, sin = np.cos(g.heading), np.sin(g.heading)
        left = across + g.axis
        x, y = along * cos - left * sin, along * sin + left * cos
        return Pose(x, y, float(g.height(np.array(x), np.array(y))), g.heading + heading)

    def put(
        self,
        footprint: tuple[float, float],
        parts: tuple[Shape, ...],
        place: tuple[float, float, float],
        gap: float = 0.3,
        label: tuple[str, float, float] | None = None,
    ) -> bool:
        """Stand a thing at (along, across, heading), if there is room; ``label`` is class name, height, speed."""
        pose = self.pose(*place)
        outline = _outline(pose, footprint[0] + gap, footprint[1] + gap)
        if any(_overlap(outline, other) for other in self.taken):
            return False
        self.taken.append(outline)
        self.groups.append(tuple(part.placed(pose) for part in parts))
        described = None
        if label:
            name, height, speed = label
            heading = (pose.heading + np.pi) % (2 * np.pi) - np.pi
            size = np.array([*footprint, height]) + MARGIN
            box = (pose.x, pose.y, pose.z + size[2] / 2, *map(float, size), heading)
            described = Labelled(name, box, speed)
        self.labels.append(described)
        return True


@dataclass(frozen=True)
class Plan:
    """Densities of a street, drawn once for each scene: shares of slots that are filled, and counts."""

    parked: float
    moving: int
    walkers: int
    riders: int
    trees: float
    clutter: int
    built: float
    angled: float


Walker = Callable[[np.random.Generator], tuple[tuple[float, float, float], tuple[Shape, ...]]]


def lay_out(lidar: Lidar, rng: np.random.Generator, walker: Walker = people.pedestrian) -> Scene:
    """A random street about a sensor that drives on its right-hand side; ``walker`` draws its pedestrians."""
    plan = _plan(rng)
    ground = _ground(lidar, rng)
    scene = Scene(ground)
    own_lane = -ground.axis
    own = scene.pose(0.0, own_lane, 0.0)
    scene.taken.append(_outline(own, 7.0, 2.6))
    _traffic(scene, plan, rng)
    pavement = 1.5 + 2.5 * rng.random()
    for side in (-1, 1):
        _parking(scene, plan, side, rng)
        _frontage(scene, plan, side, ground.road + pavement, rng)
        _pavement(scene, plan, side, pavement, rng, walker)
    return scene


def _plan(rng: np.random.Generator) -> Plan:
    empty = rng.random() < 0.08
    parked = (0.0, 0.1, 0.25, 0.45, 0.8)[int(5 * rng.random())]
    return Plan(
        parked=0.0 if empty else parked,
        moving=0 if empty else int(6 * rng.random() ** 1.5),
        walkers=0 if empty else int(12 * rng.random() ** 1.5),
        riders=0 if empty else int(6 * rng.random() ** 1.5),
        trees=0.5 * rng.random(),
        clutter=int(14 * rng.random()),
        built=rng.random(),
        angled=rng.random(),
    )


def _ground(lidar: Lidar, rng: np.random.Generator) -> Ground:
    turned = rng.random()
    heading = (rng.random() - 0.5) * (2 * np.pi if turned < 0.2 else 0.12)
    road = 2.8 + 3.4 * rng.random()
    crossing = rng.random() < 0.4
    wavelength = 18 + 50 * rng.random(3)
    bearing = 2 * np.pi * rng.random(3)
    amplitude = wavelength / 600 * rng.random(3)
    numbers = 2 * np.pi / wavelength
    waves = np.stack([amplitude, numbers * np.cos(bearing), numbers * np.sin(bearing), 2 * np.pi * rng.random(3)], -1)
    return Ground(
        level=-lidar.height + 0.1 * (rng.random() - 0.5),
        slope=(0.03 * (rng.random() - 0.5), 0.03 * (rng.random() - 0.5)),
        waves=waves,
        heading=heading,
        axis=min(0.5 * road, 2.2) * (0.7 + 0.6 * rng.random()),
        road=road,
        kerb=0.15 * rng.random(),
        crossing=-10 + 60 * rng.random(),
        cross_road=(2.5 + 3 * rng.random()) if crossing else 0.0,
    )


def _traffic(scene: Scene, plan: Plan, rng: np.random.Generator) -> None:
    """Vehicles and cyclists on the lanes of both streets, rarely far from their direction."""
    g = scene.ground
    for number in range(plan.moving + plan.riders):
        crossing = g.cross_road and rng.random() < 0.3
        side = 1 if rng.random() < 0.5 else -1
        offset = (g.cross_road if crossing else g.road) * (0.35 + 0.3 * rng.random())
        distance = BEHIND * 0.7 + (AHEAD * 0.7 - BEHIND * 0.7) * rng.random()
        heading = (np.pi if side > 0 else 0.0) + 0.1 * (rng.random() - 0.5)
        heading += (rng.random() < 0.1) * (4 * rng.random() - 2)  # some turn
        if crossing:
            place = (g.crossing - side * offset, 0.6 * distance, heading - np.pi / 2)
        else:
            place = (distance, side * offset, heading)
        if number >= plan.moving:
            size, parts = people.cyclist(rng)
            scene.put(size[:2], parts, place, label=("Cyclist", size[2], 3 + 4 * rng.random()))
        else:
            _vehicle(scene, place, 3 + 10 * rng.random(), rng)


def _vehicle(scene: Scene, place: tuple[float, float, float], speed: float, rng: np.random.Generator) -> None:
    kind = rng.random()
    if kind < 0.05:
        footprint, parts = scenery.truck(rng)
        scene.put(footprint, parts, place, label=("Truck", _top(parts), speed))
        return
    name = "Van" if kind < 0.15 else "Car"
    size, parts = vehicles.van(rng) if name == "Van" else vehicles.car(rng)
    scene.put(size[:2], parts, place, label=(name, size[2], speed))


def _parking(scene: Scene, plan: Plan, side: int, rng: np.random.Generator) -> None:
    """A row at the kerb, or slanted or perpendicular bays beside it."""
    if rng.random() < 0.25:
        return
    angle = (0.0, np.pi / 4, np.pi / 3, np.pi / 2)[int(4 * rng.random())] if plan.angled < 0.4 else 0.0
    spacing = 5.3 if angle == 0 else 2.6 / np.sin(angle)
    across = scene.ground.road + (-0.95 if angle == 0 else 2.0)
    start, end = BEHIND * 0.7 + 25 * rng.random(), AHEAD * (0.3 + 0.5 * rng.random())
    for slot in np.arange(start, end, spacing):
        if rng.random() > plan.parked * (1 if angle == 0 else 0.6):
            continue
        turned = np.pi if rng.random() < 0.4 else 0.0
        heading = side * angle + turned + 0.06 * (rng.random() - 0.5)
        _vehicle(scene, (slot + 0.5 * rng.random(), side * (across + 0.25 * rng.random()), heading), 0.0, rng)


def _frontage(scene: Scene, plan: Plan, side: int, edge: float, rng: np.random.Generator) -> None:
    """Houses, walls, fences, hedges and gaps along one side, ``edge`` metres from the axis of the street."""
    g = scene.ground
    along = BEHIND + 10 * rng.random()
    setback = 7 * rng.random() ** 2
    while along < AHEAD:
        length = 4 + 18 * rng.random()
        middle = along + length / 2
        along += length + (rng.random() < 0.4) * 5 * rng.random()
        if g.cross_road and abs(middle - g.crossing) < g.cross_road + length / 2 + 2:
            continue
        if rng.random() < plan.built:
            footprint, parts = scenery.house(rng, length)
            scene.put(footprint, parts, (middle, side * (edge + setback + footprint[1] / 2), _facing(side)), gap=0)
        if setback > 1.5 or rng.random() > plan.built:
            border = (scenery.wall, scenery.fence, scenery.hedge, scenery.hedge, None)[int(5 * rng.random())]
            if border:
                footprint, parts = border(rng, length)
                scene.put(footprint, parts, (middle, side * (edge + footprint[1] / 2), _facing(side)), gap=0)


def _pavement(scene: Scene, plan: Plan, side: int, width: float, rng: np.random.Generator, walker: Walker) -> None:
    """Trees and poles at the kerb, people, and clutter from there to well behind the frontage."""
    kerb = scene.ground.road
    for along in np.arange(BEHIND, AHEAD, 7.0):
        if rng.random() < plan.trees:
            _drop(
                scene, scenery.tree(rng), (along + 3 * rng.random(), side * (kerb + 0.7 + 6 * rng.random() ** 2)), rng
            )
    for along in np.arange(BEHIND + 10 * rng.random(), AHEAD, 18 + 15 * rng.random()):
        _drop(scene, scenery.pole(rng), (along, side * (kerb + 0.5)), rng)
    for _ in range(plan.walkers):
        place = (-25 + 75 * rng.random(), side * (kerb + (width + 1) * rng.random() - 0.8), 2 * np.pi * rng.random())
        size, parts = walker(rng)
        scene.put(size[:2], parts, place, gap=0.1, label=("Pedestrian", size[2], 1.4 * rng.random()))
    for _ in range(plan.clutter):
        thing = scenery.CLUTTER[int(len(scenery.CLUTTER) * rng.random())](rng)
        _drop(scene, thing, (-40 + 100 * rng.random(), side * (kerb + 1 + 14 * rng.random() ** 1.5)), rng)


def _drop(scene: Scene, thing: scenery.Thing, place: tuple[float, float], rng: np.random.Generator) -> None:
    scene.put(*thing, (*place, 2 * np.pi * rng.random()), gap=0.2)


def _facing(side: int) -> float:
    return 0.0 if side > 0 else np.pi


def _top(parts: tuple[Shape, ...]) -> float:
    return float(max(part.corners()[:, 2].max() for part in parts))


def _outline(pose: Pose, length: float, width: float) -> np.ndarray:
    signs = np.array([[1, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]]) / 2
    return pose.apply(signs * [length, width, 0])[:, :2]


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two rectangles (4, 2) overlap: no edge direction separates them."""
    for corners in (a, b):
        for axis in (corners[1] - corners[0], corners[2] - corners[1]):
            p, q = a @ axis, b @ axis
            if p.max() <= q.min() or q.max() <= p.min():
                return False
    return True
