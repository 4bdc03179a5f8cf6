"""Pairs of recordings of one place, drawn anew each epoch, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from perception.datasets.augment import sample_generator
from perception.datasets.catalogue import make_dataset
from perception.datasets.places.augment import PlaceAugmentation
from perception.datasets.places.sample import PlaceSample, PlaceTable
from perception.datasets.places.tuples import PlacePairSample, PlaceRadii, positives_of
from perception.errors import PerceptionError
from perception.models.place_model import PlacePairs
from perception.points import PointCloud


@dataclass(frozen=True, eq=False)
class PlaceBatch:
    """Recordings of one step, those of a pair side by side; ``positions`` (B, 2), ``regions`` (B,)."""

    clouds: list[PointCloud]
    positions: np.ndarray
    regions: np.ndarray
    identifiers: list[str]

    def __len__(self) -> int:
        return len(self.clouds) // 2

    @classmethod
    def of(cls, pairs: Sequence[PlacePairSample]) -> PlaceBatch:
        samples = [sample for pair in pairs for sample in (pair.anchor, pair.positive)]
        return cls(
            [sample.cloud for sample in samples],
            np.stack([sample.position for sample in samples]),
            np.array([sample.region for sample in samples]),
            [sample.identifier for sample in samples],
        )

    def pairs(self, radii: PlaceRadii) -> PlacePairs:
        """Which of the recordings are of one place, which of two."""
        positions, regions = torch.from_numpy(self.positions), torch.from_numpy(self.regions)
        return PlacePairs.of(positions, radii.positive, radii.negative, regions)


class PlacePool:
    """Several data sets of places as one; an anchor is a recording with another one of its place."""

    def __init__(self, entries: Sequence[Any], radii: PlaceRadii, where: str = "the experiment") -> None:
        self.names = [item.name for item in entries]
        self.datasets: list[Any] = [make_dataset(item.name, item.options, where) for item in entries]
        self.table = PlaceTable.joined([dataset.table for dataset in self.datasets])
        self.ends = np.cumsum([len(dataset) for dataset in self.datasets])
        self.positives = positives_of(self.table, radii.positive)
        dataset_of = np.searchsorted(self.ends, np.arange(len(self.table)), side="right")
        repeats = np.array([item.repeat for item in entries])[dataset_of]
        counts = np.array([len(rows) > 0 for rows in self.positives], np.int64) * repeats
        self.anchors = np.repeat(np.arange(len(self.table)), counts)
        if not len(self.anchors):
            raise PerceptionError(
                f"{where}: none of {len(self.table)} recordings has another within {radii.positive} m",
                "places that were visited twice",
                "widen places.positive, or add drives",
            )

    def __len__(self) -> int:
        return len(self.anchors)

    def sample(self, row: int) -> PlaceSample:
        """A recording by its row of the table."""
        number = int(np.searchsorted(self.ends, row, side="right"))
        found = self.datasets[number][row - (int(self.ends[number - 1]) if number else 0)]
        return PlaceSample(found.identifier, found.cloud, self.table.positions[row], int(self.table.regions[row]))

    def frames(self) -> dict[str, list[str]]:
        """Identifiers of the samples by data set."""
        found: dict[str, list[str]] = {}
        for name, dataset in zip(self.names, self.datasets):
            found.setdefault(name, []).extend(dataset.identifiers)
        return found


class PlacePairsDrawn(torch.utils.data.Dataset[PlacePairSample]):
    """Pairs by (epoch, index): the partner and the augmentation depend on these and the seed alone.

    Without an augmentation the partner is the same in every epoch: for validation.
    """

    def __init__(self, samples: PlacePool, schedule: PlaceAugmentation | None = None, seed: int = 0) -> None:
        self.samples, self.schedule, self.seed = samples, schedule, seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> PlacePairSample:
        epoch, index = key
        generator = sample_generator(self.seed, epoch if self.schedule is not None else 0, index)
        row = int(self.samples.anchors[index])
        partner = int(generator.choice(self.samples.positives[row]))
        pair = [self.samples.sample(row), self.samples.sample(partner)]
        if self.schedule is not None:
            pair = [self.schedule.at(epoch)(sample, generator) for sample in pair]
        return PlacePairSample(*pair)
