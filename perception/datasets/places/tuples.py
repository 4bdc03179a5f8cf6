"""Which recordings are of one place: training tuples from positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from perception.config import config
from perception.datasets.places.sample import PlaceSample, PlaceTable
from perception.errors import PerceptionError


@config
class PlaceRadii:
    """Recordings nearer than ``positive`` metres are of one place, farther than ``negative`` of two; others are not
    asked about."""

    positive: float = 10.0
    negative: float = 50.0

    def __post_init__(self) -> None:
        if not 0 < self.positive <= self.negative:
            raise PerceptionError(f"radii of {self.positive} and {self.negative} m", "0 < positive <= negative")


def positives_of(table: PlaceTable, radius: float) -> list[np.ndarray]:
    """Of each recording, the rows of the others of its region within ``radius`` metres, ascending."""
    found: list[np.ndarray] = [np.zeros(0, np.int64)] * len(table)
    for region in np.unique(table.regions):
        rows = np.flatnonzero(table.regions == region)
        near = cKDTree(table.positions[rows]).query_ball_point(table.positions[rows], radius)
        for row, others in zip(rows, near):
            there = rows[np.sort(np.asarray(others, np.int64))]
            found[row] = there[there != row]
    return found


@dataclass(frozen=True, eq=False)
class PlacePairSample:
    """A recording and another one of the same place."""

    anchor: PlaceSample
    positive: PlaceSample
