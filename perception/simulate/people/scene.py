"""Generated scenes of people among cars and poles, with true joints and whether the lidar sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.datasets.sample import Objects, Sample
from perception.errors import PerceptionError
from perception.points import PointCloud
from perception.simulate.ground import Ground
from perception.simulate.people.body import Body
from perception.simulate.people.ranges import TRAIN, PeopleRanges, draw_person
from perception.simulate.raycast import Returns, cast
from perception.simulate.sensor import Lidar, sensor_named
from perception.simulate.shapes import Shape
from perception.simulate.sightlines import free_sight
from perception.simulate.street import scenery, vehicles
from perception.simulate.street.layout import Scene

NEAR, FAR = 3.0, 60.0
MOST_PEOPLE = 12
NEAR_JOINT = 0.2
"""Metres within which a return counts for a joint."""
Thing = tuple[tuple[float, float], tuple[Shape, ...]]


@dataclass(frozen=True, eq=False)
class Person:
    """A body that stands in a scene, and the row of its group of shapes."""

    body: Body
    group: int
    stature: float
    action: str


def people_scene(
    seed: int,
    sensor: str | Lidar = "waymo_top",
    ranges: PeopleRanges = TRAIN,
    *,
    grounded: bool = True,
    most: int = MOST_PEOPLE,
) -> Sample:
    """One scan of 1 to ``most`` people 3 to 60 m away, some behind obstacles.

    The cloud has ``intensity`` in [0, 1], ``elongation`` (0: not simulated) and ``object``, the row of the person or
    -1. Objects are the people with at least one return, named "Pedestrian", heading where the hips face. Attributes:
    ``keypoints`` (N, 14, 3) float32 and ``keypoints_visible`` (N, 14) bool in the order of the Waymo labels (visible:
    not hidden, by this or another body or thing, whether or not a beam passes there), ``keypoints_points`` (N, 14)
    returns of the person within 0.2 m, ``points``, ``occlusion`` (share of the rays that something else stopped),
    ``speed`` m/s, ``stature`` m, ``action``. ``grounded`` puts the origin below the sensor on the level of the ground
    (frame "vehicle", as in Waymo's data), else in the sensor. The same arguments give the same scan.
    """
    lidar = sensor_named(sensor) if isinstance(sensor, str) else sensor
    if seed < 0 or most < 1:
        raise PerceptionError(f"seed {seed}, at most {most} people", "a whole number from 0, one or more")
    layout_random, ray_random = (np.random.Generator(np.random.PCG64([seed, ranges.offset, part])) for part in (20, 21))
    scene, people = _arrange(lidar, ranges, layout_random, most)
    returns = cast(scene.groups, scene.ground, lidar, ray_random)
    counts = np.bincount(returns.owner[returns.owner >= 0], minlength=len(scene.groups))
    shown = [person for person in people if counts[person.group]]
    row = np.full(len(scene.groups) + 1, -1, np.int32)
    row[[person.group for person in shown]] = np.arange(len(shown))
    lift = np.array([0, 0, lidar.height if grounded else 0.0], np.float32)
    fields = {
        "intensity": returns.intensity,
        "elongation": np.zeros(len(returns.xyz), np.float32),
        "object": row[returns.owner],
    }
    objects = _objects(scene, shown, returns, counts, lift)
    cloud = PointCloud(returns.xyz + lift, fields, frame="vehicle" if grounded else "lidar")
    return Sample(f"people_{seed:06d}", cloud, objects)


def _arrange(lidar: Lidar, ranges: PeopleRanges, rng: np.random.Generator, most: int) -> tuple[Scene, list[Person]]:
    wanted = 1 + int(most * rng.random())
    scene = Scene(_ground(lidar, rng))
    people: list[Person] = []
    obstacles = int(3 + 10 * rng.random())
    for _ in range(obstacles):
        kind = ranges.obstacles[int(rng.random() * len(ranges.obstacles))]
        footprint, parts = OBSTACLES[kind](rng)
        scene.put(footprint, parts, (*_place(scene, 4.0, rng), 2 * np.pi * rng.random()), gap=0.2)
    group: tuple[float, float] | None = None
    for _ in range(6 * wanted):
        person, size, name = draw_person(ranges, rng)
        place = _place(scene, NEAR, rng)
        if group is not None and rng.random() < 0.35:  # people go in company
            place = (group[0] + 1.6 * (rng.random() - 0.5), group[1] + 1.6 * (rng.random() - 0.5))
        heading = 2 * np.pi * rng.random()
        placed = (*place, heading)
        x, y = scene.pose(*placed).translation()[:2]
        if not NEAR <= np.hypot(x, y) <= FAR:
            continue
        if scene.put(
            person.size[:2], person.parts, placed, gap=0.05, label=("Pedestrian", person.size[2], person.speed)
        ):
            people.append(Person(person, len(scene.groups) - 1, size.stature, name))
            group = place
            if person.props:
                scene.groups.append(tuple(part.placed(scene.pose(*placed)) for part in person.props))
                scene.labels.append(None)
        if len(people) == wanted:
            break
    return scene, people


def _place(scene: Scene, near: float, rng: np.random.Generator) -> tuple[float, float]:
    """A place of the street 3 to 60 m from the sensor, near ones more often than area would have it."""
    reach, bearing = near + (FAR - near) * rng.random() ** 1.5, 2 * np.pi * rng.random()
    along, across = scene.ground.to_street(np.array(reach * np.cos(bearing)), np.array(reach * np.sin(bearing)))
    return float(along), float(across)


def _ground(lidar: Lidar, rng: np.random.Generator) -> Ground:
    u = rng.random(8)
    length, bearing = 20 + 40 * rng.random(2), 2 * np.pi * rng.random(2)
    numbers = 2 * np.pi / length
    waves = np.stack(
        [length / 700 * rng.random(2), numbers * np.cos(bearing), numbers * np.sin(bearing), 2 * np.pi * rng.random(2)],
        -1,
    )
    return Ground(
        level=-lidar.height,
        slope=(0.03 * (u[0] - 0.5), 0.03 * (u[1] - 0.5)),
        waves=waves,
        heading=2 * np.pi * u[2],
        axis=4 * (u[3] - 0.5),
        road=3 + 3 * u[4],
        kerb=0.14 * u[5],
    )


def _objects(scene: Scene, people: list[Person], returns: Returns, counts: np.ndarray, lift: np.ndarray) -> Objects:
    groups = np.array([person.group for person in people], int)
    labels = [label for person in people if (label := scene.labels[person.group])]
    boxes = torch.tensor([label.box for label in labels], dtype=torch.float32).reshape(-1, 7)
    joints = np.zeros((len(people), 14, 3))
    near = np.zeros((len(people), 14), np.int64)
    for row, (person, label) in enumerate(zip(people, labels)):
        pose = scene.pose(*_back(scene, label.box))
        joints[row] = pose.apply(person.body.joints)
        own = returns.xyz[returns.owner == person.group]
        near[row] = (np.linalg.norm(own[:, None] - joints[row], axis=2) < NEAR_JOINT).sum(0)
    depths = np.array([person.body.depths for person in people]).reshape(-1, 14)
    visible = free_sight(joints.reshape(-1, 3), depths.ravel(), scene.groups).reshape(-1, 14)
    boxes[:, :3] += torch.from_numpy(lift)
    attributes = {
        "keypoints": (joints + lift).astype(np.float32),
        "keypoints_visible": visible,
        "keypoints_points": near,
        "points": counts[groups],
        "occlusion": 1 - returns.first[groups] / np.maximum(returns.exposed[groups], 1),
        "speed": np.array([label.speed for label in labels]),
        "stature": np.array([person.stature for person in people]),
        "action": np.array([person.action for person in people], str),
    }
    return Objects(Boxes3D(boxes), np.array(["Pedestrian"] * len(people), str), attributes)


def _back(scene: Scene, box: tuple[float, ...]) -> tuple[float, float, float]:
    """The place of the street at which a box stands."""
    along, across = scene.ground.to_street(np.array(box[0]), np.array(box[1]))
    return float(along), float(across), box[6] - scene.ground.heading


def _sized(
    make: Callable[[np.random.Generator], tuple[tuple[float, float, float], tuple[Shape, ...]]],
) -> Callable[[np.random.Generator], Thing]:
    def thing(rng: np.random.Generator) -> Thing:
        size, parts = make(rng)
        return size[:2], parts

    return thing


OBSTACLES: Mapping[str, Callable[[np.random.Generator], Thing]] = {
    "car": _sized(vehicles.car),
    "van": _sized(vehicles.van),
    "pole": scenery.pole,
    "bollard": scenery.bollard,
    "wall": lambda rng: scenery.wall(rng, 2 + 6 * rng.random()),
    "hedge": lambda rng: scenery.hedge(rng, 2 + 5 * rng.random()),
    "tree": scenery.tree,
    "bush": scenery.bush,
    "bin": scenery.bin_or_cabinet,
}
