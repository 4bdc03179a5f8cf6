"""A map of places: vectors, poses and the scans that they came from; it answers where a scan was taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from perception.config import parse
from perception.errors import PerceptionError
from perception.places.describe import SCAN_CONTEXT, Describer, DescriberFacts
from perception.places.index import VectorIndex
from perception.places.scan_context import ScanContextConfig, context_distances, ring_keys

CANDIDATES = 25  # places whose contexts are compared at every turn


@dataclass(frozen=True, eq=False)
class Match:
    """A place of the map: its row, the distance of its vector, and by how many radians the query is turned against it
    about z, where the method tells (the query's frame turned by this has the place's axes)."""

    row: int
    distance: float
    turn: float | None = None


@dataclass(frozen=True, eq=False)
class PlaceMap:
    """N places. ``vectors`` (N, D); ``poses`` (N, 4, 4) float64 of the scans in the map's frame; ``drives`` (N,) int
    into ``drive_names``; ``scans`` paths as they are kept in the file; ``facts`` of what made the vectors.

    ``index`` finds vectors, of Scan Context the means of rings.
    """

    facts: DescriberFacts
    vectors: np.ndarray
    poses: np.ndarray
    drives: np.ndarray
    drive_names: tuple[str, ...]
    scans: tuple[str, ...]
    index: VectorIndex

    def __len__(self) -> int:
        return len(self.poses)

    @property
    def positions(self) -> np.ndarray:
        """(N, 3) metres."""
        return self.poses[:, :3, 3]

    @classmethod
    def of(
        cls, facts: DescriberFacts, vectors: np.ndarray, poses: np.ndarray, scans: Sequence[str], drive: str
    ) -> PlaceMap:
        """A map of one drive."""
        if not len(vectors) == len(poses) == len(scans) or not len(scans):
            raise PerceptionError(
                f"{len(vectors)} vectors, {len(poses)} poses, {len(scans)} scans", "one of each for every place"
            )
        vectors = np.ascontiguousarray(vectors, np.float32)
        index = VectorIndex(searched_vectors(facts, vectors))
        return cls(facts, vectors, np.asarray(poses), np.zeros(len(scans), np.int32), (drive,), tuple(scans), index)

    def added(self, vectors: np.ndarray, poses: np.ndarray, scans: Sequence[str], drive: str) -> PlaceMap:
        """With another drive, or more of one that is in it."""
        more = PlaceMap.of(self.facts, vectors, poses, scans, drive)
        if more.vectors.shape[1] != self.vectors.shape[1]:
            raise PerceptionError(
                f"vectors of {more.vectors.shape[1]} numbers", f"{self.vectors.shape[1]}, as the map's"
            )
        names = self.drive_names if drive in self.drive_names else (*self.drive_names, drive)
        return replace(
            self,
            vectors=np.concatenate([self.vectors, more.vectors]),
            poses=np.concatenate([self.poses, more.poses]),
            drives=np.concatenate([self.drives, np.full(len(more), names.index(drive), np.int32)]),
            drive_names=names,
            scans=(*self.scans, *more.scans),
            index=self.index.extended(more.index.vectors),
        )

    def fits(self, describer: Describer) -> None:
        """Raise PerceptionError unless the describer makes vectors like the map's."""
        if describer.facts.fingerprint != self.facts.fingerprint:
            mine = self.facts.model or self.facts.method
            raise PerceptionError(
                f"the map was built by {mine} ({self.facts.fingerprint[:12]}), the query would be described by "
                f"{describer.facts.model or describer.facts.method} ({describer.facts.fingerprint[:12]})",
                "the same weights and settings",
                f"give --model {mine}, or build the map again",
            )

    def search(self, vectors: np.ndarray, k: int = 5) -> list[list[Match]]:
        """The ``k`` nearest places of each query, nearest first."""
        if k < 1:
            raise PerceptionError(f"the {k} nearest places", "1 or more")
        if self.facts.method != SCAN_CONTEXT:
            rows, distances = self.index.search(vectors, k)
            return [[Match(int(r), float(d)) for r, d in zip(*pair)] for pair in zip(rows, distances)]
        return self._by_context(vectors, k, max(k, CANDIDATES))

    def search_all(self, vectors: np.ndarray) -> list[list[Match]]:
        """All places of each query, nearest first: no candidate is left out, for evaluations."""
        return self.search(vectors, len(self))

    def _by_context(self, vectors: np.ndarray, k: int, candidates: int) -> list[list[Match]]:
        settings = parse(ScanContextConfig, dict(self.facts.settings), "the map's settings")
        shape = (-1, settings.rings, settings.sectors)
        rows, _ = self.index.search(searched_vectors(self.facts, vectors), candidates)
        found = []
        for query, near in zip(torch.from_numpy(np.ascontiguousarray(vectors)).view(shape), rows):
            contexts = torch.from_numpy(self.vectors[near]).view(shape)
            distances, turns = context_distances(query, contexts)
            order = distances.argsort(stable=True)[:k]
            sector = 2 * np.pi / settings.sectors
            found.append([Match(int(near[i]), float(distances[i]), float(turns[i]) * sector) for i in order])
        return found


def searched_vectors(facts: DescriberFacts, vectors: np.ndarray) -> np.ndarray:
    """What the index holds of vectors."""
    if facts.method != SCAN_CONTEXT:
        return vectors
    settings = parse(ScanContextConfig, dict(facts.settings), "settings of scan-context")
    return ring_keys(torch.from_numpy(np.ascontiguousarray(vectors)).view(-1, settings.rings, settings.sectors)).numpy()
