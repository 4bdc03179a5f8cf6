"""One recording of a place, the same for every data set, and the table that says which are recordings of one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from perception.errors import PerceptionError
from perception.points import PointCloud


@dataclass(frozen=True, eq=False)
class PlaceTable:
    """What is known of N recordings without reading them.

    ``positions`` (N, 2) metres, east and north or x and y of the frame of their region; ``regions`` (N,) int:
    recordings of different regions are never of one place; ``runs`` (N,) int, the drive, walk or flight that each
    belongs to; ``names`` of the runs.
    """

    positions: np.ndarray
    regions: np.ndarray
    runs: np.ndarray
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        count = len(self.positions)
        if self.positions.shape != (count, 2) or len(self.regions) != count or len(self.runs) != count:
            raise PerceptionError(
                f"positions {self.positions.shape}, {len(self.regions)} regions, {len(self.runs)} runs",
                "(N, 2), (N,) and (N,)",
            )
        if not np.isfinite(self.positions).all():
            raise PerceptionError("positions that are not finite", "metres", "leave out recordings without a position")

    def __len__(self) -> int:
        return len(self.positions)

    @classmethod
    def joined(cls, tables: Sequence[PlaceTable]) -> PlaceTable:
        """Several data sets as one: their regions and runs stay apart."""
        regions, runs, region, run = [], [], 0, 0
        for table in tables:
            regions.append(table.regions + region)
            runs.append(table.runs + run)
            region += int(table.regions.max(initial=-1)) + 1
            run += len(table.names)
        return cls(
            np.concatenate([table.positions for table in tables]),
            np.concatenate(regions),
            np.concatenate(runs),
            tuple(name for table in tables for name in table.names),
        )


@dataclass(frozen=True, eq=False)
class PlaceSample:
    """A cloud in the frame of its sensor (or of its submap), and where it was recorded."""

    identifier: str
    cloud: PointCloud
    position: np.ndarray
    region: int


class PlaceDataset(Protocol):
    """What training and evaluation ask of a data set of places."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> PlaceSample: ...

    @property
    def table(self) -> PlaceTable: ...

    @property
    def identifiers(self) -> Sequence[str]: ...
