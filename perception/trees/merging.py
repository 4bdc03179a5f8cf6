"""Trees of overlapping blocks as trees of the whole: which of two blocks' trees are one, and who gets a point.

``merge_blocks`` looks at all blocks at once, so that their order does not show. ``official_merge`` goes from block to
block as SegmentAnyTree's published code does, and depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perception.errors import PerceptionError


@dataclass(frozen=True, eq=False)
class LabelledBlock:
    """``index`` (n,) int64 the rows of the whole cloud in this block, each once; ``tree_id`` (n,) 0 for none;
    ``score`` (n,) of the tree of each."""

    index: np.ndarray
    tree_id: np.ndarray
    score: np.ndarray


@dataclass(frozen=True, eq=False)
class MergedTrees:
    """``tree_id`` (N,) int32 from 1 by the first row of each tree, 0 for none, and ``score`` (N,) float32."""

    tree_id: np.ndarray
    score: np.ndarray


@dataclass(frozen=True, eq=False)
class _Entries:
    """All rows of all blocks: ``row`` of the whole, ``block``, ``tree`` over all blocks (-1 for none), ``score``."""

    row: np.ndarray
    block: np.ndarray
    tree: np.ndarray
    score: np.ndarray
    block_of_tree: np.ndarray

    @classmethod
    def of(cls, blocks: Sequence[LabelledBlock]) -> _Entries:
        row = np.concatenate([block.index for block in blocks]).astype(np.int64)
        number = np.repeat(np.arange(len(blocks)), [len(block.index) for block in blocks])
        label = np.concatenate([block.tree_id for block in blocks]).astype(np.int64)
        score = np.concatenate([block.score for block in blocks]).astype(np.float64)
        # A tree is known by its first row, not by its block's place: the order of blocks must not show.
        size = int(label.max(initial=0)) + 1
        found, tree = np.unique(number * size + label, return_inverse=True)
        labelled = found % size > 0
        first = np.full(len(found), np.iinfo(np.int64).max)
        np.minimum.at(first, tree, row)
        counts = np.bincount(tree, minlength=len(found))
        order = np.lexsort((counts, first, ~labelled))
        rank = np.empty(len(found), np.int64)
        rank[order] = np.arange(len(found))
        rank[~labelled] = -1
        kept = order[: labelled.sum()]
        return cls(row, number, rank[tree], score, found[kept] // size)


def merge_blocks(
    blocks: Sequence[LabelledBlock], points: int, overlap: float = 0.3, least_shared: int = 5
) -> MergedTrees:
    """Trees of ``points`` points from blocks that overlap.

    Two blocks' trees are one if, among the points that both blocks have, their intersection over union exceeds
    ``overlap`` on ``least_shared`` points or more; the most alike first, and no tree takes two of one block. A point
    goes to the tree with the largest sum of scores.
    """
    _check(blocks, points)
    if not blocks or not any(len(block.index) for block in blocks):
        return MergedTrees(np.zeros(points, np.int32), np.zeros(points, np.float32))
    entries = _Entries.of(blocks)
    group = one_to_one(entries.block_of_tree, _likenesses(entries, overlap, least_shared))
    return _vote(entries, group, points)


def _likenesses(entries: _Entries, overlap: float, least: int) -> np.ndarray:
    """Pairs of trees (K, 2) to be joined, the most alike first."""
    order = np.argsort(entries.row, kind="stable")
    row, block, tree = entries.row[order], entries.block[order], entries.tree[order]
    number = len(entries.block_of_tree)
    if not number:
        return np.zeros((0, 2), np.int64)
    blocks = int(block.max()) + 1
    shared: list[np.ndarray] = []
    seen: list[np.ndarray] = []
    step = 1
    while step < len(row):
        same = np.flatnonzero(row[step:] == row[:-step])
        if not len(same):
            break
        a, b = tree[same], tree[same + step]
        for one, other in ((a, block[same + step]), (b, block[same])):
            seen.append((one * blocks + other)[one >= 0])
        both = (a >= 0) & (b >= 0)
        shared.append(np.minimum(a, b)[both] * number + np.maximum(a, b)[both])
        step += 1
    pairs, common = np.unique(_joined(shared), return_counts=True)
    in_block, size = np.unique(_joined(seen), return_counts=True)
    pairs, common = pairs[common >= least], common[common >= least]
    if not len(pairs):
        return np.zeros((0, 2), np.int64)
    a, b = pairs // number, pairs % number
    of_a = size[np.searchsorted(in_block, a * blocks + entries.block_of_tree[b])]
    of_b = size[np.searchsorted(in_block, b * blocks + entries.block_of_tree[a])]
    likeness = common / (of_a + of_b - common)
    order = np.lexsort((b, a, -common, -likeness))
    order = order[likeness[order] > overlap]
    return np.column_stack([a[order], b[order]])


def one_to_one(block_of_tree: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The tree of the whole (T,) that each block's tree belongs to: ``pairs`` (K, 2) joined in their order, but never
    two of one block."""
    group = list(range(len(block_of_tree)))
    members = {tree: {int(block)} for tree, block in enumerate(block_of_tree)}

    def root(tree: int) -> int:
        while group[tree] != tree:
            group[tree] = group[group[tree]]
            tree = group[tree]
        return tree

    for one, other in pairs.tolist():
        a, b = sorted((root(one), root(other)))
        if a != b and not members[a] & members[b]:
            group[b] = a
            members[a] |= members.pop(b)
    return np.array([root(tree) for tree in range(len(group))], np.int64)


def _vote(entries: _Entries, group: np.ndarray, points: int) -> MergedTrees:
    of_tree = entries.tree >= 0
    row, score = entries.row[of_tree], entries.score[of_tree]
    tree = group[entries.tree[of_tree]]
    order = np.lexsort((score, tree, row))
    row, tree, score = row[order], tree[order], score[order]
    first = np.flatnonzero(np.concatenate([[True], (row[1:] != row[:-1]) | (tree[1:] != tree[:-1])])[: len(row)])
    votes = np.add.reduceat(score, first) if len(first) else score
    best = np.maximum.reduceat(score, first) if len(first) else score
    row, tree = row[first], tree[first]
    order = np.lexsort((tree, -votes, row))
    row, tree, best = row[order], tree[order], best[order]
    winner = np.flatnonzero(np.concatenate([[True], row[1:] != row[:-1]])[: len(row)])
    label, scores = np.full(points, -1, np.int64), np.zeros(points, np.float32)
    label[row[winner]], scores[row[winner]] = tree[winner], best[winner]
    return MergedTrees(numbered_by_first_row(label), scores)


def official_merge(blocks: Sequence[LabelledBlock], points: int, overlap: float = 0.1) -> MergedTrees:
    """As published: block by block, trees that overlap one that is there by more than ``overlap`` join the best.

    Points keep their first tree; overlaps are those within the block at hand. A block of known points only is left out.
    """
    _check(blocks, points)
    label, scores, total = np.full(points, -1, np.int64), np.zeros(points, np.float32), 0
    for block in blocks:
        known = label[block.index]
        if len(known) and (known >= 0).all():
            continue
        for tree in np.unique(block.tree_id[block.tree_id > 0]):
            inside = block.tree_id == tree
            rows = block.index[inside]
            taken = _best_overlap(inside, known, overlap)
            if taken < 0:
                taken, total = total, total + 1
            free = label[rows] < 0
            label[rows[free]] = taken
            scores[rows[free]] = block.score[inside][free]
    return MergedTrees(numbered_by_first_row(label), scores)


def _best_overlap(inside: np.ndarray, known: np.ndarray, overlap: float) -> int:
    """The tree that is there and overlaps best, -1 if none does by more than ``overlap``."""
    there, shared = np.unique(known[inside & (known >= 0)], return_counts=True)
    if not len(there):
        return -1
    sizes = np.array([np.count_nonzero(known == tree) for tree in there])
    likeness = shared / (sizes + inside.sum() - shared)
    best = int(likeness.argmax())
    return int(there[best]) if likeness[best] > overlap else -1


def numbered_by_first_row(label: np.ndarray) -> np.ndarray:
    """int32 numbers from 1 in the order of first rows for labels from 0 on; 0 for -1."""
    labelled = np.flatnonzero(label >= 0)
    _, first, inverse = np.unique(label[labelled], return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1)
    numbers = np.zeros(len(label), np.int32)
    numbers[labelled] = rank[inverse]
    return numbers


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _check(blocks: Sequence[LabelledBlock], points: int) -> None:
    for number, block in enumerate(blocks):
        if len(block.index) and not 0 <= block.index.min() <= block.index.max() < points:
            raise PerceptionError(f"block {number} with rows up to {block.index.max()}", f"rows below {points}")
