"""Losses of trees against loops that follow the formulas."""

from __future__ import annotations

import numpy as np
import torch

from perception.losses.trees import (
    Instances,
    box_centres,
    discriminative_loss,
    offset_losses,
    proposal_overlaps,
    score_loss,
    semantic_loss,
)
from perception.models.treelearn import lowest_heights
from perception.trees.proposals import Proposals


def drawn(seed: int = 0, rows: int = 60) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tree_id = torch.randint(0, 4, (rows,), generator=generator)
    semantic = torch.where(torch.rand(rows, generator=generator) < 0.1, -1, (tree_id > 0).long())
    return tree_id, semantic, torch.arange(rows) // (rows // 2)


def sets_of(tree_id: torch.Tensor, semantic: torch.Tensor, sample: torch.Tensor) -> list[list[int]]:
    keys = [(int(s), int(t)) for s, t, k in zip(sample, tree_id, semantic) if t > 0 and k == 1]
    return [
        [i for i in range(len(sample)) if (int(sample[i]), int(tree_id[i])) == key and semantic[i] == 1]
        for key in sorted(set(keys))
    ]


def test_instances_are_those_of_each_sample() -> None:
    tree_id, semantic, sample = drawn()
    found = Instances.of(tree_id, semantic, sample)
    wanted = sets_of(tree_id, semantic, sample)
    assert found.number == len(wanted) == 6
    for number, rows in enumerate(wanted):
        assert (found.of_row == number).nonzero()[:, 0].tolist() == rows
        assert found.sample[number] == sample[rows[0]]


def test_centres_are_those_of_boxes() -> None:
    tree_id, semantic, sample = drawn(1)
    xyz = torch.randn(60, 3)
    found = box_centres(xyz, Instances.of(tree_id, semantic, sample))
    for centre, rows in zip(found, sets_of(tree_id, semantic, sample)):
        torch.testing.assert_close(centre, (xyz[rows].amin(0) + xyz[rows].amax(0)) / 2)


def test_the_embedding_loss_follows_its_formula() -> None:
    tree_id, semantic, sample = drawn(2)
    embedding = torch.randn(60, 5, dtype=torch.float64) * 1.2
    total = []
    for s in (0, 1):
        trees = [rows for rows in sets_of(tree_id, semantic, sample) if sample[rows[0]] == s]
        means = [embedding[rows].mean(0) for rows in trees]
        pull = np.mean(
            [
                np.mean([max(float((embedding[i] - m).abs().sum()) - 0.5, 0) ** 2 for i in rows])
                for rows, m in zip(trees, means)
            ]
        )
        push = np.mean(
            [
                max(3.0 - float((a - b).abs().sum()), 0) ** 2
                for i, a in enumerate(means)
                for j, b in enumerate(means)
                if i != j
            ]
        )
        regular = np.mean([float(m.abs().sum()) for m in means])
        total.append(pull + push + 1e-3 * regular)
    found = discriminative_loss(embedding, Instances.of(tree_id, semantic, sample))
    torch.testing.assert_close(float(found), float(np.mean(total)))


def test_one_tree_alone_is_not_pushed() -> None:
    embedding = torch.zeros(4, 5)
    instances = Instances.of(torch.ones(4), torch.ones(4), torch.zeros(4, dtype=torch.int64))
    assert discriminative_loss(embedding, instances) == 0
    two = Instances.of(torch.tensor([1, 1, 2, 2]), torch.ones(4), torch.zeros(4, dtype=torch.int64))
    assert discriminative_loss(embedding, two) == 9.0


def test_offsets_by_hand() -> None:
    offset = torch.tensor([[1.0, 0, 0], [0, 2, 0]])
    target = torch.tensor([[2.0, 0, 0], [0, -2, 1]])
    distance, direction = offset_losses(offset, target)
    torch.testing.assert_close(distance, torch.tensor((1 + 5) / 2))
    torch.testing.assert_close(direction, torch.tensor((-1 + 2 / 5**0.5) / 2))
    assert all(part == 0 for part in offset_losses(torch.zeros(0, 3), torch.zeros(0, 3)))


def test_unknown_rows_do_not_count() -> None:
    values = torch.log_softmax(torch.randn(6, 2), 1)
    labels = torch.tensor([0, 1, -1, 1, -1, 0])
    wanted = -(values[0, 0] + values[1, 1] + values[3, 1] + values[5, 0]) / 4
    torch.testing.assert_close(semantic_loss(values, labels), wanted)
    assert semantic_loss(values, torch.full((6,), -1)) == 0


def test_overlaps_and_soft_targets() -> None:
    tree_id, semantic, sample = drawn(4)
    trees = [set(rows) for rows in sets_of(tree_id, semantic, sample)]
    sets = [set(range(0, 20)), {1}, set(range(30, 60)), {i for i in range(60) if tree_id[i] == 0}, trees[0]]
    parts = [Proposals(torch.tensor(sorted(s)), torch.zeros(len(s), dtype=torch.int64), 1) for s in sets]
    found = proposal_overlaps(Proposals.joined(parts), Instances.of(tree_id, semantic, sample))
    wanted = [max(len(s & t) / len(s | t) for t in trees) for s in sets]
    torch.testing.assert_close(found, torch.tensor(wanted))
    logits = torch.tensor([-3.0, 0.0, 2.0])
    goal = torch.tensor([0.0, 0.5, 1.0])
    probability = logits.sigmoid()
    entropy = -(goal * probability.log() + (1 - goal) * (1 - probability).log()).mean()
    torch.testing.assert_close(score_loss(logits, torch.tensor([0.2, 0.5, 0.8])), entropy)
    assert score_loss(torch.zeros(0), torch.zeros(0)) == 0
    assert proposal_overlaps(Proposals.joined([]), Instances.of(tree_id, semantic, sample)).tolist() == []


def test_feet_begin_at_the_fourth_lowest_point_of_larger_trees() -> None:
    tree = torch.tensor([0] * 5 + [1] * 12)
    z = torch.cat([torch.tensor([4.0, 2, 3, 9, 5]), torch.arange(12.0).flip(0)])
    assert lowest_heights(tree, z, 2).tolist() == [2.0, 3.0]
