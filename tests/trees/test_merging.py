"""Trees over blocks: the same whatever the blocks' order, and never two of a block in one."""

from __future__ import annotations

import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.trees.blocks import cylinders, squares
from perception.trees.merging import LabelledBlock, MergedTrees, merge_blocks, official_merge


def block(index: list[int], tree: list[int], score: float | list[float] = 0.9) -> LabelledBlock:
    scores = np.broadcast_to(np.array(score, np.float32), len(index)).copy()
    return LabelledBlock(np.array(index, np.int64), np.array(tree, np.int32), scores)


def cut(truth: np.ndarray, seed: int, width: int = 40, step: int = 20) -> list[LabelledBlock]:
    """Overlapping runs of rows in which the trees have numbers of their own."""
    generator = np.random.default_rng(seed)
    blocks = []
    for start in range(0, len(truth), step):
        index = np.arange(start, min(start + width, len(truth)))
        names = generator.permutation(truth.max() + 1) + 1
        own = np.where(truth[index] > 0, names[truth[index]], 0).astype(np.int32)
        blocks.append(LabelledBlock(index, own, np.full(len(index), generator.uniform(0.5, 1), np.float32)))
    return blocks


def same_sets(found: np.ndarray, truth: np.ndarray) -> bool:
    pairs = np.unique(np.column_stack([found, truth]), axis=0)
    return len(pairs) == len(np.unique(found)) == len(np.unique(truth)) and (found > 0).tolist() == (truth > 0).tolist()


@pytest.mark.parametrize("merge", [merge_blocks, official_merge])
def test_cut_trees_become_whole_again(merge) -> None:  # type: ignore[no-untyped-def]
    truth = np.repeat([1, 2, 0, 3, 4, 5], 25)
    found = merge(cut(truth, 1), len(truth))
    assert same_sets(found.tree_id, truth)
    assert found.tree_id.dtype == np.int32
    assert found.tree_id[0] == 1


def test_the_order_of_blocks_does_not_matter() -> None:
    generator = np.random.default_rng(3)
    truth = np.repeat(generator.permutation(12), 17)
    blocks = cut(truth, 4)
    # Blunders, so that votes are close.
    blocks = [
        LabelledBlock(b.index, np.where(generator.uniform(size=len(b.index)) < 0.15, 1, b.tree_id), b.score)
        for b in blocks
    ]
    wanted = merge_blocks(blocks, len(truth))
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(blocks))
        found = merge_blocks([blocks[i] for i in order], len(truth))
        assert np.array_equal(found.tree_id, wanted.tree_id)
        np.testing.assert_array_equal(found.score, wanted.score)


def test_two_trees_of_a_block_never_become_one() -> None:
    whole = block(list(range(20)), [1] * 20)
    halves = block(list(range(20)), [1] * 10 + [2] * 10, 1.0)
    found = merge_blocks([whole, halves], 20, overlap=0.3)
    # One half is the whole's tree; the other stays a tree of its own and has the better score.
    assert len(np.unique(found.tree_id)) == 2
    assert same_sets(found.tree_id, np.repeat([1, 2], 10))


def test_a_point_goes_to_the_larger_sum_of_scores() -> None:
    first = block(list(range(12)), [1] * 12, 0.5)
    second = block(list(range(12)), [7] * 12, 0.4)
    other = block([11, *range(12, 24)], [3] * 13, 0.8)
    found = merge_blocks([first, second, other], 24)
    assert found.tree_id.tolist() == [1] * 12 + [2] * 12
    assert found.score[11] == np.float32(0.5)


def test_the_official_form_keeps_the_first_tree_and_takes_small_overlaps() -> None:
    first, second = block(list(range(10)), [1] * 10), block(list(range(8, 24)), [1] * 16, 1.0)
    assert official_merge([first, second], 24).tree_id.tolist() == [1] * 24  # 2 of 16 is over a tenth
    assert merge_blocks([first, second], 24).tree_id.tolist() == [1] * 8 + [2] * 16
    reverse = official_merge([second, block(list(range(8, 24)), [1] * 8 + [2] * 8)], 24)
    assert reverse.tree_id.tolist() == [0] * 8 + [1] * 16  # a block that is all known is left out


def test_nothing_to_merge() -> None:
    for merge in (merge_blocks, official_merge):
        for blocks in ([], [block([], [])], [block([0, 2], [0, 0])]):
            found: MergedTrees = merge(blocks, 3)
            assert found.tree_id.tolist() == [0, 0, 0]
            assert found.score.tolist() == [0, 0, 0]
    with pytest.raises(PerceptionError, match="block 0"):
        merge_blocks([block([5], [1])], 3)


def test_cylinders_cover_every_point() -> None:
    xy = np.random.default_rng(0).uniform(-30, 50, (3000, 2)) + np.array([5e5, 6e6])
    for official in (False, True):
        parts = list(cylinders(xy, 8.0, 8.0, official))
        assert np.array_equal(np.unique(np.concatenate(parts)), np.arange(3000))
        assert all(np.linalg.norm(xy[p] - xy[p].mean(0), axis=1).max() < 16 for p in parts)
    assert list(cylinders(np.zeros((0, 2)), 8.0, 8.0)) == []
    assert [p.tolist() for p in cylinders(np.zeros((1, 2)), 8.0, 8.0, True)] == [[0]]


def test_every_point_is_in_four_squares_and_each_with_its_margin() -> None:
    xy = np.random.default_rng(1).uniform(0, 40, (2000, 2))
    counts = np.zeros(2000, int)
    for rows, inside in squares(xy, 8.0, 13.5, 4.0):
        counts[rows[inside]] += 1
        low, high = xy[rows[inside]].min(0) - 13.5 - 8, xy[rows[inside]].max(0) + 13.5 + 8
        assert ((xy[rows] > low) & (xy[rows] < high)).all()
    assert (counts == 4).all()
