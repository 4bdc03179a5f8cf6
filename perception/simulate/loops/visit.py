"""Scans along a closed way: one lap each way, other cars and another lidar each time."""

from __future__ import annotations

import math

import numpy as np

from perception.points import PointCloud
from perception.simulate.flow import SeenGround
from perception.simulate.loops.world import World
from perception.simulate.raycast import cast
from perception.simulate.sensor import Lidar
from perception.simulate.shapes import Pose, Shape
from perception.simulate.street import people, vehicles


def laps(world_length: float, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Metres along the way of each visit and its lap (0 ahead, 1 in the opposite direction): both (N,)."""
    along = np.arange(0, world_length, spacing)
    return np.concatenate([along, along[::-1] + spacing / 2]), np.repeat([0, 1], len(along))


def visit_pose(world_length: float, number: int, spacing: float, seed: int, half: float = 4.0) -> tuple[float, ...]:
    """Along, across and heading relative to the way of a visit: each lap keeps to its right."""
    along, lap = laps(world_length, spacing)
    rng = np.random.Generator(np.random.PCG64([seed, 32, number]))
    across = (-1 if lap[number] == 0 else 1) * min(1.9, 0.45 * half) + 0.8 * (rng.random() - 0.5)
    return float(along[number]), across, math.pi * float(lap[number]) + 0.1 * (rng.random() - 0.5)


def see(world: World, pose: tuple[float, float, float], lap: int, lidar: Lidar, seed: tuple[int, ...]) -> PointCloud:
    """The scan from x, y, heading; ``lap`` chooses the cars that are parked then, ``seed`` everything that moves."""
    rng = np.random.Generator(np.random.PCG64([*seed, 33]))
    x, y, heading = pose
    z = float(world.ground.height(np.array(x), np.array(y))) + lidar.height
    places = np.array(world.place).reshape(-1, 3)
    near = np.hypot(places[:, 0] - x, places[:, 1] - y) < np.minimum(lidar.reach, 80) + places[:, 2]
    parked = np.random.Generator(np.random.PCG64([lap, 34])).random(len(places)) < 0.5
    near &= np.array(world.stays, bool) | parked
    cos, sin = math.cos(-heading), math.sin(-heading)
    back = Pose(-x * cos + y * sin, -x * sin - y * cos, -z, -heading)
    groups: list[tuple[Shape, ...]] = [world.parts[i] for i in np.flatnonzero(near)]
    if world.kind == "street":
        groups += _traffic(world, pose, rng)
    placed = [tuple(part.placed(back) for part in group) for group in groups]
    seen = cast(placed, SeenGround(world.ground, Pose(x, y, z, heading)), lidar, rng)  # type: ignore[arg-type]
    return PointCloud(seen.xyz, {"intensity": seen.intensity}, frame="lidar")


def _traffic(world: World, pose: tuple[float, float, float], rng: np.random.Generator) -> list[tuple[Shape, ...]]:
    """A few cars ahead and behind and people about the sensor: they are elsewhere in the next scan."""
    found = []
    row = int(np.hypot(*(world.course.points - pose[:2]).T).argmin())
    for number in range(int(9 * rng.random() ** 1.5)):
        along, side = row + (8 + 40 * rng.random()) * (1 if rng.random() < 0.5 else -1), rng.choice([-1, 1])
        if number % 2:
            _, parts = people.pedestrian(rng)
            across = world.ground.half + 2 * rng.random()
        else:
            _, parts = vehicles.car(rng)
            across = min(1.9, 0.45 * world.ground.half)
        at = world.course.place(along, side * across, 0.0 if side < 0 else math.pi)
        ground = float(world.ground.height(np.array(at[0]), np.array(at[1])))
        found.append(tuple(part.placed(Pose(at[0], at[1], ground, at[2])) for part in parts))
    return found
