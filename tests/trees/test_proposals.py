"""Suppression and selection of proposals against sets."""

from __future__ import annotations

import numpy as np
import torch

from perception.trees.proposals import Proposals
from perception.trees.suppression import shared_overlaps, suppress


def drawn(seed: int, number: int = 25, rows: int = 60) -> tuple[Proposals, list[set[int]]]:
    generator = np.random.default_rng(seed)
    sets = []
    for _ in range(number):
        start = generator.integers(0, rows - 12)
        sets.append(set((start + generator.permutation(12)[: generator.integers(3, 12)]).tolist()))
    parts = [Proposals(torch.tensor(sorted(s)), torch.zeros(len(s), dtype=torch.int64), 1) for s in sets]
    return Proposals.joined(parts), sets


def test_suppression_equals_that_of_sets() -> None:
    for seed in range(6):
        proposals, sets = drawn(seed)
        scores = torch.from_numpy(np.random.default_rng(seed).integers(0, 8, len(sets)) / 8)
        order = sorted(range(len(sets)), key=lambda i: (-scores[i].item(), i))
        kept: list[int] = []
        for i in order:
            if all(len(sets[i] & sets[j]) / len(sets[i] | sets[j]) <= 0.3 for j in kept):
                kept.append(i)
        assert suppress(proposals, scores, 0.3).tolist() == kept


def test_overlaps_are_those_of_sets() -> None:
    proposals, sets = drawn(9)
    wanted = np.array([[len(a & b) / len(a | b) for b in sets] for a in sets])
    np.testing.assert_allclose(shared_overlaps(proposals).toarray(), wanted)


def test_nothing_to_suppress() -> None:
    assert suppress(Proposals.joined([]), torch.zeros(0), 0.3).tolist() == []


def test_selected_proposals_keep_their_rows_in_the_new_order() -> None:
    proposals, sets = drawn(2)
    chosen = proposals.select(torch.tensor([4, 0]))
    assert chosen.number == 2
    for number, wanted in enumerate((sets[4], sets[0])):
        assert set(chosen.rows[chosen.cluster == number].tolist()) == wanted


def test_proposals_of_labels() -> None:
    found = Proposals.of_labels(torch.tensor([1, -1, 0, 1]), torch.tensor([10, 11, 12, 13]))
    assert found.rows.tolist() == [12, 10, 13]
    assert found.cluster.tolist() == [0, 1, 1]
    assert found.sizes.tolist() == [1, 2]
    assert Proposals.of_labels(torch.tensor([-1, -1]), torch.tensor([1, 2])).number == 0
