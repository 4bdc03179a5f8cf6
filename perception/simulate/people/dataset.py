"""Generated scenes of people as a data set: for training keypoint models without a download, and for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from perception.datasets.sample import Sample
from perception.errors import PerceptionError
from perception.simulate.people.ranges import ranges_named
from perception.simulate.people.scene import MOST_PEOPLE, people_scene
from perception.simulate.sensor import sensor_named


class PeopleDataset:
    """``length`` scenes; sample i is a pure function of (seed, split, i) and the sensors.

    Sample i is seen by ``sensors[i % n]``. ``split`` "test" draws bodies, postures and obstacles that "train" never
    shows. ``grounded``, ``most`` and the contents of a sample as in ``people_scene``. ``around`` metres keeps only what
    is so near to a person, on the ground plan: joints are learned from such scenes in a fraction of the time.
    """

    def __init__(
        self,
        length: int,
        seed: int = 0,
        split: str = "train",
        sensors: Sequence[str] = ("waymo_top",),
        grounded: bool = True,
        most: int = MOST_PEOPLE,
        around: float | None = None,
    ) -> None:
        if length < 0 or seed < 0:
            raise PerceptionError(f"a data set of length {length} and seed {seed}", "numbers from 0")
        if not sensors:
            raise PerceptionError("no sensor", "at least one lidar", "name one, for example waymo_top")
        if around is not None and not around > 0:
            raise PerceptionError(f"what lies within {around} m of people", "metres above 0")
        self.length, self.seed, self.split, self.grounded = length, seed, split, grounded
        self.most, self.around = most, around
        self.ranges = ranges_named(split)
        self.sensors = tuple(sensor_named(name) for name in sensors)

    def __len__(self) -> int:
        return self.length

    @property
    def identifiers(self) -> list[str]:
        """One line for all scenes: a seed and a number are enough to make them again."""
        return [f"{self.split}, seed {self.seed}: {len(self)} scenes"]

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(f"sample {index} of {self.length}")
        sensor = self.sensors[index % len(self.sensors)]
        sample = people_scene(
            self.seed * 1_000_003 + index, sensor, self.ranges, grounded=self.grounded, most=self.most
        )
        return sample if self.around is None else _near_people(sample, self.around)


def _near_people(sample: Sample, around: float) -> Sample:
    assert sample.objects is not None
    centres = sample.objects.boxes.values[:, :2].numpy()
    if not len(centres):
        return replace(sample, cloud=sample.cloud.select(np.zeros(0, np.int64)))
    distance, _ = cKDTree(centres).query(sample.cloud.xyz[:, :2], distance_upper_bound=around)
    return replace(sample, cloud=sample.cloud.select(np.isfinite(distance)))
