"""A map of places that can grow while a robot drives: the library's own map and file, one place at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perception.places.describe import Describer
from perception.places.map_file import load_map, save_map
from perception.places.place_map import PlaceMap

BEFORE = -(1 << 62)  # ns: places of a file were seen before anything that a node sees


@dataclass(frozen=True, eq=False)
class PlaceMatch:
    """A place of the map: its ``number``, how far its vector is, its ``pose`` (4, 4) in the map's frame."""

    number: int
    distance: float
    pose: np.ndarray


class GrowingMap:
    """A map that ``perception places build`` made, or an empty one, with the places that are added to it.

    Raises PerceptionError for a file that is none, and for one that other weights or settings made.
    """

    def __init__(self, describer: Describer, path: str | Path | None = None) -> None:
        self.facts = describer.facts
        self.places: PlaceMap | None = None
        if path:
            self.places = load_map(path)
            self.places.fits(describer)
        self._seen = [BEFORE] * len(self)

    def __len__(self) -> int:
        return 0 if self.places is None else len(self.places)

    def add(self, vector: np.ndarray, pose: np.ndarray, stamp: int) -> None:
        """A place at ``pose`` (4, 4), seen at ``stamp`` (ns)."""
        drive, scan = "node", f"{stamp / 1e9:.9f}"
        new = np.asarray(vector, np.float32)[None], np.asarray(pose, np.float64)[None], [scan], drive
        self.places = PlaceMap.of(self.facts, *new) if self.places is None else self.places.added(*new)
        self._seen.append(stamp)

    def find(self, vector: np.ndarray, number: int, before: int) -> list[PlaceMatch]:
        """The ``number`` nearest places among those seen before ``before`` (ns), nearest first."""
        if self.places is None:
            return []
        recent = sum(seen >= before for seen in self._seen)
        (found,) = self.places.search(np.asarray(vector, np.float32)[None], number + recent)
        old = [match for match in found if self._seen[match.row] < before][:number]
        return [PlaceMatch(match.row, match.distance, self.places.poses[match.row]) for match in old]

    def save(self, path: str | Path) -> None:
        """Write the map, whole or not at all; an empty one is not written."""
        if self.places is not None:
            save_map(path, self.places)
