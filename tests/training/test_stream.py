from __future__ import annotations

import numpy as np
import pytest

from perception.datasets.augment import AugmentConfig, build_schedule
from perception.datasets.catalogue import make_dataset
from perception.errors import PerceptionError
from perception.training.data import Augmented, EpochBatches, Pool, training_loader, validation_loader
from perception.training.settings import DataEntry


def test_every_epoch_visits_every_sample_once_in_another_order() -> None:
    batches = list(EpochBatches(samples=7, batch_size=3, epochs=2, seed=5))
    assert [len(batch) for batch in batches] == [3, 3, 1, 3, 3, 1]
    epochs = [[key for batch in batches[i : i + 3] for key in batch] for i in (0, 3)]
    assert [sorted(index for _, index in keys) for keys in epochs] == [list(range(7))] * 2
    assert [{epoch for epoch, _ in keys} for keys in epochs] == [{0}, {1}]
    assert [index for _, index in epochs[0]] != [index for _, index in epochs[1]]


@pytest.mark.parametrize("start", range(7))
def test_the_stream_starts_anywhere(start: int) -> None:
    whole = EpochBatches(samples=7, batch_size=3, epochs=2, seed=5)
    rest = EpochBatches(samples=7, batch_size=3, epochs=2, seed=5, start=start)
    assert list(rest) == list(whole)[start:]
    assert len(rest) == len(whole) == 6


def test_processes_share_each_epoch() -> None:
    shares = [list(EpochBatches(10, 2, 2, 1, rank=rank, world=4)) for rank in range(4)]
    assert {len(share) for share in shares} == {4}
    for epoch in range(2):
        visited = [index for share in shares for batch in share for e, index in batch if e == epoch]
        assert len(visited) == 12
        assert set(visited) == set(range(10))
    with pytest.raises(PerceptionError, match="process 4 of 4"):
        EpochBatches(10, 2, 2, 1, rank=4, world=4)


def test_more_processes_than_samples() -> None:
    shares = [list(EpochBatches(2, 4, 1, 0, rank=rank, world=5)) for rank in range(5)]
    assert all(len(share) == 1 and len(share[0]) == 1 for share in shares)


def test_pool_repeats_its_parts() -> None:
    pool = Pool([DataEntry("street", {"length": 2}), DataEntry("street", {"length": 1, "seed": 3}, repeat=3)])
    assert len(pool) == 5
    assert pool[1].identifier == make_dataset("street", {"length": 2}, "test")[1].identifier
    assert pool[2].identifier == pool[4].identifier != pool[1].identifier
    with pytest.raises(PerceptionError, match="no samples"):
        Pool([])


def test_what_is_loaded_does_not_depend_on_workers_or_on_what_came_before() -> None:
    pool = Pool([DataEntry("street", {"length": 3})])
    samples = Augmented(pool, build_schedule(AugmentConfig(), 2), seed=2)
    alone = list(training_loader(samples, EpochBatches(3, 2, 2, seed=2), workers=0))
    spread = list(training_loader(samples, EpochBatches(3, 2, 2, seed=2, start=2), workers=2))
    assert [batch.identifiers for batch in spread] == [batch.identifiers for batch in alone[2:]]
    for one, other in zip(spread, alone[2:]):
        for a, b in zip(one.clouds, other.clouds):
            np.testing.assert_array_equal(a.xyz, b.xyz)
    first = {i: c.xyz for batch in alone[:2] for i, c in zip(batch.identifiers, batch.clouds)}
    second = {i: c.xyz for batch in alone[2:] for i, c in zip(batch.identifiers, batch.clouds)}
    assert all(not np.array_equal(first[name], second[name]) for name in first), "each epoch is augmented anew"


def test_validation_visits_all_samples_in_order_without_augmentation() -> None:
    pool = Pool([DataEntry("street", {"length": 3})])
    shares = [list(validation_loader(Augmented(pool), 2, 0, rank, 2)) for rank in range(2)]
    found = [name for share in shares for batch in share for name in batch.identifiers]
    assert found == [pool[i].identifier for i in (0, 2, 1, 0)]
    assert [len(list(validation_loader(Augmented(pool), 2, 0, rank, 5))) for rank in range(5)] == [1] * 5
