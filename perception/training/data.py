"""Batches for training: every one a pure function of (seed, batch number), so that training can start anywhere."""

from __future__ import annotations

import ctypes
import math
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from perception.camera import CameraView
from perception.datasets.augment import Schedule, sample_generator
from perception.datasets.catalogue import make_dataset
from perception.datasets.flow.pairs import FlowSample
from perception.datasets.places.tuples import PlacePairSample
from perception.datasets.sample import Dataset, NamedDataset, Objects, Sample
from perception.errors import PerceptionError
from perception.points import PointCloud
from perception.training.flow_batch import FlowBatch
from perception.training.settings import DataEntry

Key = tuple[int, int]  # epoch, index
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h


@dataclass(frozen=True, eq=False)
class Batch:
    """Recordings of one step; voxels are made of them by the model, on its own device."""

    clouds: list[PointCloud]
    objects: list[Objects | None]
    identifiers: list[str]
    views: list[CameraView | None]

    def __len__(self) -> int:
        return len(self.clouds)


class Pool:
    """Several data sets as one, each repeated as its entry says."""

    def __init__(self, entries: Sequence[DataEntry], where: str = "the experiment") -> None:
        self.names = [item.name for item in entries]
        self.datasets: list[NamedDataset] = [make_dataset(item.name, item.options, where) for item in entries]
        lengths = [len(d) * item.repeat for d, item in zip(self.datasets, entries)]
        self._ends = np.cumsum(lengths)
        if not sum(lengths):
            raise PerceptionError(f"{where}: no samples in {self.names or 'an empty list of data sets'}", "one or more")

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Sample:
        number = int(np.searchsorted(self._ends, index, side="right"))
        first = int(self._ends[number - 1]) if number else 0
        dataset = self.datasets[number]
        return dataset[(index - first) % len(dataset)]

    def frames(self) -> dict[str, list[str]]:
        """Identifiers of the samples by data set."""
        found: dict[str, list[str]] = {}
        for name, dataset in zip(self.names, self.datasets):
            found.setdefault(name, []).extend(dataset.identifiers)
        return found


class Augmented(torch.utils.data.Dataset[Sample]):
    """Samples by (epoch, index); the augmentation's random numbers depend on these and the seed alone."""

    def __init__(self, samples: Dataset, schedule: Schedule | None = None, seed: int = 0) -> None:
        self.samples, self.schedule, self.seed = samples, schedule, seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Key) -> Sample:
        epoch, index = key
        sample = self.samples[index]
        if self.schedule is None:
            return sample
        return self.schedule.at(epoch)(sample, sample_generator(self.seed, epoch, index))


class EpochBatches(Sampler[list[Key]]):
    """All batches of all epochs in one stream, this process's share of each.

    Each epoch visits every sample once in an order shuffled by (seed, epoch); where the samples do not divide among
    ``world`` processes, some are visited twice. ``start`` is the number of batches that are already done. The length is
    that of the whole stream, done batches included.
    """

    def __init__(
        self, samples: int, batch_size: int, epochs: int, seed: int, start: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        if not 0 <= rank < world:
            raise PerceptionError(f"process {rank} of {world}", "0 <= rank < world")
        self.samples, self.batch_size, self.epochs, self.seed = samples, batch_size, epochs, seed
        self.start, self.rank, self.world = start, rank, world

    @property
    def per_epoch(self) -> int:
        return math.ceil(math.ceil(self.samples / self.world) / self.batch_size)

    def __len__(self) -> int:
        return self.per_epoch * self.epochs

    def __iter__(self) -> Iterator[list[Key]]:
        for epoch in range(self.start // self.per_epoch, self.epochs):
            share = self._share(epoch)
            first = self.start % self.per_epoch if epoch == self.start // self.per_epoch else 0
            for number in range(first, self.per_epoch):
                chosen = share[number * self.batch_size : (number + 1) * self.batch_size]
                yield [(epoch, int(index)) for index in chosen]

    def _share(self, epoch: int) -> np.ndarray:
        order = np.random.Generator(np.random.PCG64([self.seed, epoch])).permutation(self.samples)
        return _evenly(order, self.rank, self.world)


def _evenly(order: np.ndarray, rank: int, world: int) -> np.ndarray:
    """Every ``world``-th index from ``rank`` on, the list repeated until all shares are equally long."""
    return np.resize(order, math.ceil(len(order) / world) * world)[rank::world]


def training_loader(dataset: Augmented, batches: EpochBatches, workers: int) -> DataLoader[Batch]:
    """The rest of the stream, loaded by ``workers`` processes of one thread each, or in this process."""
    return _loader(dataset, batches, workers)


def validation_loader(
    dataset: Augmented, batch_size: int, workers: int, rank: int = 0, world: int = 1
) -> DataLoader[Batch]:
    """All samples once, in order, this process's share of them; uneven shares are filled up from the first samples."""
    keys = [(0, int(index)) for index in _evenly(np.arange(len(dataset)), rank, world)]
    batches = [keys[i : i + batch_size] for i in range(0, len(keys), batch_size)]
    return _loader(dataset, batches, workers)


def _loader(dataset: Augmented, batches: Sampler[list[Key]] | list[list[Key]], workers: int) -> DataLoader[Batch]:
    return DataLoader(
        dataset,  # type: ignore[arg-type]  # collate makes batches of samples
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # the loader's own draws must not move the global random state
    )


def collate(samples: Sequence[Any]) -> Any:
    """Samples side by side, nothing stacked yet: a ``Batch``, or of pairs of scans a ``FlowBatch``."""
    if samples and isinstance(samples[0], FlowSample):
        return FlowBatch.of(samples)
    if samples and isinstance(samples[0], PlacePairSample):
        from perception.training.place_batch import PlaceBatch  # which reads samples of this module's data sets

        return PlaceBatch.of(samples)
    return Batch(
        [s.cloud for s in samples],
        [s.objects for s in samples],
        [s.identifier for s in samples],
        [s.view for s in samples],
    )


def _start_worker(worker: int) -> None:
    """One thread; and on Linux the end of the process that trains is the worker's end too.

    A worker whose parent was killed would otherwise wait forever to hand over its batch through a pipe that its
    siblings hold open.
    """
    torch.set_num_threads(1)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
