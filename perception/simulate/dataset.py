"""Generated streets as a data set: for training without a download, and for tests."""

from __future__ import annotations

from perception.datasets.sample import Sample
from perception.errors import PerceptionError
from perception.simulate.sensor import HDL64, KITTI_CAMERA_SECTOR, Lidar
from perception.simulate.street import street


class StreetDataset:
    """``length`` streets; sample i is a pure function of (seed, i) and the sensor.

    ``camera_view`` keeps the sector that KITTI's camera sees, about 81 degrees ahead, and casts only that.
    """

    def __init__(self, length: int, seed: int = 0, camera_view: bool = True, sensor: Lidar = HDL64) -> None:
        if length < 0 or seed < 0:
            raise PerceptionError(f"a data set of length {length} and seed {seed}", "numbers from 0")
        self.length = length
        self.seed = seed
        self.sensor = sensor.facing(KITTI_CAMERA_SECTOR) if camera_view else sensor

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(f"sample {index} of {self.length}")
        return street(self.seed * 1_000_003 + index, self.sensor)
