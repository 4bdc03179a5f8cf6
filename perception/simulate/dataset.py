"""Generated streets as a data set: for training without a download, and for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from perception.datasets.sample import Objects, Sample
from perception.errors import PerceptionError
from perception.simulate.sensor import KITTI_CAMERA_SECTOR, sensor_named
from perception.simulate.street.scene import street

CAMERA_POSITION = (0.27, -0.08)
"""Of KITTI's camera 2 in metres: ahead of the lidar and above it (negative: below)."""
IMAGE_SLOPES = (-0.279, 0.24)
"""Tangents to the last and the first row of its rectified images, (374 - 173) / 721 and 173 / 721."""


class StreetDataset:
    """``length`` streets; sample i is a pure function of (seed, i), seen by ``sensors[i % n]``.

    ``camera_view`` keeps the points that KITTI's camera sees, about 81 degrees ahead and no ground nearer than 6 m, as
    the benchmark's evaluation does, and the objects with points there. ``articulated`` as in ``street``.
    """

    def __init__(
        self,
        length: int,
        seed: int = 0,
        camera_view: bool = True,
        articulated: bool = False,
        sensors: Sequence[str] = ("hdl64",),
    ) -> None:
        if length < 0 or seed < 0:
            raise PerceptionError(f"a data set of length {length} and seed {seed}", "numbers from 0")
        if not sensors:
            raise PerceptionError("no sensor", "at least one lidar", "name one, for example hdl64")
        self.length = length
        self.seed = seed
        self.camera_view = camera_view
        self.articulated = articulated
        found = [sensor_named(name) for name in sensors]
        self.sensors = tuple(sensor.facing(KITTI_CAMERA_SECTOR) if camera_view else sensor for sensor in found)

    def __len__(self) -> int:
        return self.length

    @property
    def identifiers(self) -> list[str]:
        """One line for all scenes: a seed and a number are enough to make them again."""
        return [f"seed {self.seed}: {len(self)} scenes"]

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(f"sample {index} of {self.length}")
        sensor = self.sensors[index % len(self.sensors)]
        sample = street(self.seed * 1_000_003 + index, sensor, articulated=self.articulated)
        return crop_to_image_rows(sample) if self.camera_view else sample


def crop_to_image_rows(sample: Sample) -> Sample:
    """A street without the points above and below the images of KITTI's camera, and without objects left empty."""
    ahead, up = sample.cloud.xyz[:, 0] - CAMERA_POSITION[0], sample.cloud.xyz[:, 2] - CAMERA_POSITION[1]
    low, high = IMAGE_SLOPES
    cloud = sample.cloud.select((ahead > 0) & (up > low * ahead) & (up < high * ahead))
    if sample.objects is None:
        return Sample(sample.identifier, cloud)
    owner = cloud.fields["object"]
    counts = np.bincount(owner[owner >= 0], minlength=len(sample.objects))
    kept = np.flatnonzero(counts)
    row = np.full(len(counts) + 1, -1, np.int32)
    row[kept] = np.arange(len(kept))
    objects = sample.objects.select(kept)
    objects = Objects(objects.boxes, objects.names, {**objects.attributes, "num_points": counts[kept]})
    return Sample(sample.identifier, replace(cloud, fields={**cloud.fields, "object": row[owner]}), objects)
