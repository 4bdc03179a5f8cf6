"""Generated scenes of people as a data set: for training keypoint models without a download, and for tests."""

from __future__ import annotations

from collections.abc import Sequence

from perception.datasets.sample import Sample
from perception.errors import PerceptionError
from perception.simulate.people.ranges import ranges_named
from perception.simulate.people.scene import people_scene, sensor_named


class PeopleDataset:
    """``length`` scenes; sample i is a pure function of (seed, split, i) and the sensors.

    Sample i is seen by ``sensors[i % n]``. ``split`` "test" draws bodies, postures and obstacles that "train" never
    shows. ``grounded`` and the contents of a sample as in ``people_scene``.
    """

    def __init__(
        self,
        length: int,
        seed: int = 0,
        split: str = "train",
        sensors: Sequence[str] = ("waymo_top",),
        grounded: bool = True,
    ) -> None:
        if length < 0 or seed < 0:
            raise PerceptionError(f"a data set of length {length} and seed {seed}", "numbers from 0")
        if not sensors:
            raise PerceptionError("no sensor", "at least one lidar", "name one, for example waymo_top")
        self.length, self.seed, self.split, self.grounded = length, seed, split, grounded
        self.ranges = ranges_named(split)
        self.sensors = tuple(sensor_named(name) for name in sensors)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(f"sample {index} of {self.length}")
        sensor = self.sensors[index % len(self.sensors)]
        return people_scene(self.seed * 1_000_003 + index, sensor, self.ranges, grounded=self.grounded)
