"""Compiled matching of detections with objects at every score cut-off, as the Waymo Open evaluator counts it.

Its Hungarian matcher maximises the summed IoU of all matches and knows no scores. Pairs that may match are few, so the
problem falls apart into small independent groups, and a group's answer changes only where one of its detections passes
the cut-off.
"""

from __future__ import annotations

import numpy as np

from perception.compiled import compiled
from perception.geometry.clipping import CORNERS, intersection_area

_SMALLEST_SIDE = 0.01  # metres; the evaluator gives thinner boxes no overlap
_IOU_STEPS = 1_000_000  # it matches on whole millionths


@compiled
def overlapping_pairs(
    found: np.ndarray,
    found_class: np.ndarray,
    first_found: np.ndarray,
    truth: np.ndarray,
    truth_class: np.ndarray,
    first_truth: np.ndarray,
    minimum: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (E, 2) of rows of detections and objects that overlap enough for their class, and their IoU in millionths.

    Boxes (N, 7) float64; sweep s owns rows ``first[s]`` to ``first[s + 1]``; ``minimum`` float32 by class.
    """
    scratch = np.empty((2, CORNERS, 2))
    pairs = np.empty((16, 2), np.int64)
    weights = np.empty(16, np.int64)
    number = 0
    for sweep in range(len(first_found) - 1):
        for i in range(first_found[sweep], first_found[sweep + 1]):
            for j in range(first_truth[sweep], first_truth[sweep + 1]):
                if found_class[i] != truth_class[j]:
                    continue
                overlap = np.float32(_volume_iou(found[i], truth[j], scratch))
                if overlap < minimum[found_class[i]]:
                    continue
                if number == len(pairs):
                    pairs = np.concatenate((pairs, np.empty_like(pairs)))
                    weights = np.concatenate((weights, np.empty_like(weights)))
                pairs[number, 0], pairs[number, 1] = i, j
                weights[number] = int(np.round(overlap * _IOU_STEPS))
                number += 1
    return pairs[:number], weights[:number]


@compiled
def _volume_iou(a: np.ndarray, b: np.ndarray, scratch: np.ndarray) -> float:
    for side in range(3, 6):
        if not (a[side] > _SMALLEST_SIDE and b[side] > _SMALLEST_SIDE):
            return 0.0
    top = min(a[2] + a[5] / 2, b[2] + b[5] / 2)
    bottom = max(a[2] - a[5] / 2, b[2] - b[5] / 2)
    if not top > bottom:
        return 0.0
    shared = intersection_area(a, b, scratch) * (top - bottom)
    return shared / (a[3] * a[4] * a[5] + b[3] * b[4] * b[5] - shared)


@compiled
def count_matches(
    pairs: np.ndarray,
    weights: np.ndarray,
    group: np.ndarray,
    steps: np.ndarray,
    cutoffs: int,
    shard: np.ndarray,
    shards: int,
    accuracy: np.ndarray,
    hard: np.ndarray,
    excused: np.ndarray,
) -> np.ndarray:
    """Matches at each cut-off: (shards, cutoffs, 4) sums of matches, of their ``accuracy``, of objects that are not
    ``hard`` among them, and of ``excused`` detections among them.

    ``pairs`` (E, 2) and ``weights`` (E,) sorted by ``group`` (E,), the connected component; detections take part at
    the first ``steps`` (by detection) cut-offs; ``shard`` (by detection) is where a match counts; ``accuracy`` (E,).
    """
    sums = np.zeros((shards, cutoffs, 4))
    start = 0
    while start < len(pairs):
        stop = start
        while stop < len(pairs) and group[stop] == group[start]:
            stop += 1
        chosen = np.empty(0, np.int64)
        before = -1
        for cutoff in range(cutoffs - 1, -1, -1):
            active = 0
            for e in range(start, stop):
                if steps[pairs[e, 0]] > cutoff:
                    active += 1
            if active == 0:
                continue
            if active != before:
                chosen = _best_matching(pairs, weights, start, stop, steps, cutoff)
                before = active
            for match in chosen:
                here = sums[shard[pairs[match, 0]], cutoff]
                here[0] += 1
                here[1] += accuracy[match]
                here[2] += not hard[pairs[match, 1]]
                here[3] += excused[pairs[match, 0]]
        start = stop
    return sums


@compiled
def _best_matching(
    pairs: np.ndarray, weights: np.ndarray, start: int, stop: int, steps: np.ndarray, cutoff: int
) -> np.ndarray:
    """Edges of the matching with the largest sum of weights among detections that take part at a cut-off."""
    edges = np.empty(stop - start, np.int64)
    number = 0
    for e in range(start, stop):
        if steps[pairs[e, 0]] > cutoff:
            edges[number] = e
            number += 1
    edges = edges[:number]
    rows, columns = np.unique(pairs[edges, 0]), np.unique(pairs[edges, 1])
    if len(columns) == 1 or len(rows) == 1:
        return edges[np.argmax(weights[edges]) :][:1]
    size = max(len(rows), len(columns))
    weight = np.zeros((size, size), np.int64)
    edge = np.full((size, size), -1, np.int64)
    for pair in edges:
        i, j = np.searchsorted(rows, pairs[pair, 0]), np.searchsorted(columns, pairs[pair, 1])
        weight[i, j], edge[i, j] = weights[pair], pair
    column = maximum_matching(weight)
    chosen = np.empty(size, np.int64)
    number = 0
    for row in range(size):
        if edge[row, column[row]] >= 0:
            chosen[number] = edge[row, column[row]]
            number += 1
    return chosen[:number]


@compiled
def maximum_matching(weight: np.ndarray) -> np.ndarray:
    """The column of each row in the complete matching of largest weight; ``weight`` (n, n) int64.

    Kuhn's method with shortest augmenting paths and potentials (Edmonds & Karp 1972), O(n^3).
    """
    n = len(weight)
    row_potential, column_potential = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
    row_of = np.full(n + 1, -1, np.int64)  # column n stands for the row that looks for a place
    came_from = np.empty(n + 1, np.int64)
    far = 1 << 60
    for row in range(n):
        row_of[n] = row
        column = n
        slack = np.full(n + 1, far, np.int64)
        seen = np.zeros(n + 1, np.bool_)
        while row_of[column] >= 0:
            seen[column] = True
            here, step, following = row_of[column], far, -1
            for j in range(n):
                if seen[j]:
                    continue
                cost = -weight[here, j] - row_potential[here] - column_potential[j]
                if cost < slack[j]:
                    slack[j], came_from[j] = cost, column
                if slack[j] < step:
                    step, following = slack[j], j
            for j in range(n + 1):
                if seen[j]:
                    row_potential[row_of[j]] += step
                    column_potential[j] -= step
                else:
                    slack[j] -= step
            column = following
        while column != n:
            row_of[column] = row_of[came_from[column]]
            column = came_from[column]
        row_of[n] = -1
    column_of = np.empty(n, np.int64)
    for j in range(n):
        column_of[row_of[j]] = j
    return column_of


@compiled
def connected(pairs: np.ndarray, found: int, truth: int) -> np.ndarray:
    """The component (E,) of each pair: pairs that share a detection or an object, directly or through others."""
    parent = np.arange(found + truth)
    for e in range(len(pairs)):
        a, b = _root(parent, pairs[e, 0]), _root(parent, found + pairs[e, 1])
        parent[max(a, b)] = min(a, b)
    component = np.empty(len(pairs), np.int64)
    for e in range(len(pairs)):
        component[e] = _root(parent, pairs[e, 0])
    return component


@compiled
def _root(parent: np.ndarray, node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node
