"""Generated loops as a data set of places: for training without a download, and for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from perception.datasets.places.sample import PlaceSample, PlaceTable
from perception.errors import PerceptionError, nearest
from perception.points import PointCloud
from perception.simulate.loops.course import Course
from perception.simulate.loops.visit import laps, see, visit_pose
from perception.simulate.loops.world import KINDS, World, make_world, world_course
from perception.simulate.sensor import SENSORS, Lidar

COARSE = 0.6  # degrees: places are told by cells of a metre, for which every second or third ray will do
MOST = 1000.0  # metres of a coordinate that a packed scan can hold
SPLIT = {"train": 0, "test": 1 << 40}


class LoopDataset:
    """``worlds`` worlds of ``length`` metres around, a scan every ``spacing`` metres, one lap in each direction.

    World w is of kind ``kinds[w % n]``; each scan is taken by one of ``sensors``, drawn anew. Sample i is a pure
    function of (seed, split, i) and the other arguments. ``fine`` keeps all rays of the sensors; without it beams are
    thinned to what cells of a metre can tell apart. Scans are kept in memory, six bytes a point.
    """

    def __init__(
        self,
        worlds: int = 20,
        seed: int = 0,
        length: float = 640.0,
        spacing: float = 8.0,
        kinds: Sequence[str] = KINDS,
        sensors: Sequence[str] = tuple(SENSORS),
        split: str = "train",
        fine: bool = False,
    ) -> None:
        if worlds < 1 or seed < 0 or not 0 < spacing <= length or length < 100:
            raise PerceptionError(
                f"{worlds} worlds, seed {seed}, {length} m around, a scan every {spacing} m",
                "one world or more, a seed from 0, 100 m or more, a spacing above 0",
            )
        for name, known in [*((k, KINDS) for k in kinds), *((s, SENSORS) for s in sensors), (split, SPLIT)]:
            if name not in known:
                raise PerceptionError(f"generated loops: {name!r}", f"one of {', '.join(known)}", nearest(name, known))
        if not kinds or not sensors:
            raise PerceptionError("no kind of world, or no sensor", "one or more of each")
        self.worlds, self.seed, self.length, self.spacing = worlds, seed, length, spacing
        self.kinds, self.sensors, self.split, self.fine = tuple(kinds), tuple(sensors), split, fine
        self.along, self.lap = laps(length, spacing)
        self._world = lru_cache(maxsize=64)(self._make)
        self._seen: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.worlds * len(self.along)

    def __getitem__(self, index: int) -> PlaceSample:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        if index not in self._seen:
            xyz = self.scan(index).xyz
            self._seen[index] = (xyz[np.abs(xyz).max(1) < MOST] * 30).round().astype(np.int16)
        world = index // len(self.along)
        x, y, _ = self.pose(index)
        cloud = PointCloud(self._seen[index].astype(np.float32) / 30)
        return PlaceSample(self.identifier(index), cloud, np.array([x, y]), world)

    @property
    def table(self) -> PlaceTable:
        count = len(self.along)
        positions = np.array([self.pose(index)[:2] for index in range(len(self))])
        regions = np.repeat(np.arange(self.worlds), count)
        names = tuple(f"{world} {way}" for world in range(self.worlds) for way in ("ahead", "back"))
        return PlaceTable(positions, regions, 2 * regions + np.tile(self.lap, self.worlds), names)

    @property
    def identifiers(self) -> list[str]:
        return [f"{self.split}, seed {self.seed}: {self.worlds} worlds"]

    def identifier(self, index: int) -> str:
        return f"loops_{self.split}_{self.seed}_{index:06d}"

    def pose(self, index: int) -> tuple[float, float, float]:
        """x, y and heading of the sensor in the frame of its world."""
        world, visit = divmod(index, len(self.along))
        along, across, heading = visit_pose(self.length, visit, self.spacing, self._number(world))
        return _course(self.length, self._number(world)).place(along, across, heading)

    def scan(self, index: int) -> PointCloud:
        """The scan with all that its sensor tells."""
        world, visit = divmod(index, len(self.along))
        number = self._number(world)
        u = np.random.Generator(np.random.PCG64([number, 35, visit])).random(2)
        lidar = SENSORS[self.sensors[int(u[0] * len(self.sensors))]]
        lidar = lidar if self.fine else coarse(lidar, u[1])
        return see(self._world(world), self.pose(index), int(self.lap[visit]), lidar, (number, visit))

    def _number(self, world: int) -> int:
        return SPLIT[self.split] + self.seed * 1_000_003 + world

    def _make(self, world: int) -> World:
        return make_world(self.kinds[world % len(self.kinds)], self.length, self._number(world))


@lru_cache(maxsize=256)
def _course(length: float, number: int) -> Course:
    return world_course(length, number)


def coarse(lidar: Lidar, share: float) -> Lidar:
    """A lidar of at most 32 beams, 60 m and fewer columns: ``share`` in [0, 1] draws how many."""
    step = max(1, len(lidar.elevations) // 32)
    return replace(
        lidar,
        elevations=lidar.elevations[::step],
        azimuth_step=COARSE * (0.7 + 0.8 * share),
        reach=min(lidar.reach, 60.0),
    )
