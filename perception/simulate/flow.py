"""Two scans of a generated street, 0.1 s apart: vehicles, riders and people move, so does the sensor; flow is exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perception.datasets.flow.classes import category_number
from perception.datasets.flow.pairs import MOVING_DISTANCE, FlowLabels, FlowSample, with_ground
from perception.datasets.rigid import inverse, move
from perception.errors import PerceptionError, nearest
from perception.points import PointCloud
from perception.scan_pair import ScanPair
from perception.simulate.ground import Ground
from perception.simulate.raycast import Returns, cast
from perception.simulate.sensor import HDL64, SENSORS, Lidar
from perception.simulate.shapes import Pose, Shape
from perception.simulate.street.layout import Labelled, Scene, lay_out

FASTEST = 15.0  # m/s of the sensor's vehicle
TURN = 0.25  # radians a second at most, of the sensor's vehicle and of others


@dataclass(frozen=True, eq=False)
class SeenGround:
    """``ground``, told in the first scan's frame, as a sensor sees it that stands at ``sensor`` in that frame."""

    ground: Ground
    sensor: Pose

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return self.ground.height(*self._before(x, y)) - self.sensor.z

    def reflectance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return self.ground.reflectance(*self._before(x, y))

    def _before(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cos, sin = np.cos(self.sensor.heading), np.sin(self.sensor.heading)
        return x * cos - y * sin + self.sensor.x, x * sin + y * cos + self.sensor.y


@dataclass(frozen=True, eq=False)
class MovingScene:
    """A street and its motion: ``sensor``, the sensor's second pose in the frame of the first; ``motions``: for each
    group of shapes its rigid motion between the scans, in the frame of the first."""

    scene: Scene
    sensor: Pose
    motions: tuple[Pose, ...]

    def later(self) -> list[tuple[Shape, ...]]:
        """The groups at the second scan's time, in the second scan's frame."""
        back = _inverse(self.sensor)
        return [
            tuple(shape.placed(motion).placed(back) for shape in group)
            for group, motion in zip(self.scene.groups, self.motions)
        ]


def moving_street(seed: int, sensor: Lidar = HDL64, seconds: float = 0.1) -> MovingScene:
    """The street of ``street(seed)`` in motion: labelled things move as fast as their labels say, some in a turn."""
    scene = lay_out(sensor, _random(seed, 0))
    rng = _random(seed, 2)
    ground = scene.ground
    standing = rng.random() < 0.15
    speed, turn = FASTEST * rng.random() * (not standing), TURN * (2 * rng.random() - 1) * (not standing)
    # The vehicle drives along the street, whatever way the sensor's x axis points.
    sensor_pose = _advanced(ground, Pose(0.0, 0.0, 0.0, ground.heading), speed * seconds, turn * seconds)
    sensor_pose = Pose(sensor_pose.x, sensor_pose.y, sensor_pose.z, turn * seconds)
    turns = TURN * (2 * rng.random(len(scene.labels)) - 1) * (rng.random(len(scene.labels)) < 0.5)
    motions = [
        Pose() if label is None or not label.speed else _motion(ground, label, seconds, float(angle) * seconds)
        for label, angle in zip(scene.labels, turns)
    ]
    return MovingScene(scene, sensor_pose, tuple(motions))


def street_flow(seed: int, sensor: Lidar = HDL64, seconds: float = 0.1) -> FlowSample:
    """Both scans of a random street in motion; the same seed and sensor give the same pair, and the first scan is
    ``street(seed).cloud``.

    Clouds have ``intensity``, ``ground`` (exactly what lies on the ground) and ``group``, the thing that each point
    lies on, or -1. ``labels.tracks`` are numbers of groups.
    """
    world = moving_street(seed, sensor, seconds)
    scene = world.scene
    before = cast(scene.groups, scene.ground, sensor, _random(seed, 1))
    after = cast(world.later(), SeenGround(scene.ground, world.sensor), sensor, _random(seed, 3))
    pair = ScanPair(_cloud(before, 0.0), _cloud(after, seconds), inverse(_matrix(world.sensor)))
    return FlowSample(f"street_flow_{seed:03d}", pair, _labels(pair, before.owner, world), seconds)


class StreetFlow:
    """``length`` pairs of generated streets; pair i is a pure function of (seed, i), the sensor and the time between.

    ``sensor`` is a lidar or one of ``SENSORS`` by name.
    """

    def __init__(self, length: int, seed: int = 0, sensor: Lidar | str = "hdl64", seconds: float = 0.1) -> None:
        if isinstance(sensor, str):
            if sensor not in SENSORS:
                raise PerceptionError(f"sensor {sensor!r}", f"one of {', '.join(SENSORS)}", nearest(sensor, SENSORS))
            sensor = SENSORS[sensor]
        if length < 0 or seed < 0 or seconds <= 0:
            raise PerceptionError(
                f"a data set of length {length}, seed {seed}, {seconds} s between scans",
                "numbers from 0, a time above 0",
            )
        self.length, self.seed, self.sensor, self.seconds = length, seed, sensor, seconds

    def __len__(self) -> int:
        return self.length

    @property
    def identifiers(self) -> Sequence[str]:
        return [f"seed {self.seed}: {self.length} pairs"]

    def __getitem__(self, index: int) -> FlowSample:
        if not 0 <= index < self.length:
            raise IndexError(f"pair {index} of {self.length}")
        return street_flow(self.seed * 1_000_003 + index, self.sensor, self.seconds)


def _labels(pair: ScanPair, owner: np.ndarray, world: MovingScene) -> FlowLabels:
    ego = pair.ego_flow()
    flow = ego.copy()
    xyz = pair.first.xyz
    movers = np.array([motion != Pose() for motion in world.motions], np.bool_)
    for group in np.unique(owner[owner >= 0]):
        if movers[group]:
            rows = owner == group
            there = move(move(xyz[rows], _matrix(world.motions[group])), pair.pose)
            flow[rows] = (there - xyz[rows]).astype(np.float32)
    labels = world.scene.labels
    shown = [i for i in np.unique(owner[owner >= 0]).tolist() if labels[i] is not None]
    row = np.full(len(labels) + 1, -1, np.int32)
    row[shown] = np.arange(len(shown))
    number = np.array([0, *(category_number(label.name) for i in shown if (label := labels[i]))], np.uint8)
    box = row[owner]
    moving = np.linalg.norm(flow - ego, axis=1) >= MOVING_DISTANCE
    return FlowLabels(flow, moving, np.ones(len(flow), np.bool_), number[box + 1], box, np.array(shown).astype(str))


def _cloud(returns: Returns, stamp: float) -> PointCloud:
    fields = {"intensity": returns.intensity, "group": returns.owner}
    return with_ground(PointCloud(returns.xyz, fields, frame="lidar", stamp=stamp), returns.owner < 0)


def _motion(ground: Ground, label: Labelled, seconds: float, turn: float) -> Pose:
    x, y, z, _, _, height, heading = label.box
    start = Pose(x, y, z - height / 2, heading)
    end = _advanced(ground, start, label.speed * seconds, turn)
    angle = end.heading - start.heading
    turned = Pose(heading=angle).apply(start.translation())
    x, y, z = (end.translation() - turned).tolist()
    return Pose(x, y, z, angle)


def _advanced(ground: Ground, pose: Pose, distance: float, turn: float) -> Pose:
    """Further along an arc (its chord, to second order), up and down with the ground."""
    heading = pose.heading + turn / 2
    x, y = pose.x + distance * np.cos(heading), pose.y + distance * np.sin(heading)
    rise = ground.height(np.array(x), np.array(y)) - ground.height(np.array(pose.x), np.array(pose.y))
    return Pose(float(x), float(y), pose.z + float(rise), pose.heading + turn)


def _inverse(pose: Pose) -> Pose:
    back = -Pose(heading=-pose.heading).apply(pose.translation())
    return Pose(float(back[0]), float(back[1]), float(back[2]), -pose.heading)


def _matrix(pose: Pose) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = pose.rotation(), pose.translation()
    return matrix


def _random(seed: int, part: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, part]))
