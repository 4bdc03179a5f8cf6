"""Recall of place recognition as PointNetVLAD's protocol counts it (Uy & Lee 2018), and exact forms beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RETRIEVED = 25


@dataclass(frozen=True, eq=False)
class PlaceRecall:
    """Percent, over the ``evaluated`` queries that have a true neighbour.

    ``recall`` (25,) at 1 .. 25. Published: ``one_percent`` looks at no more than 25 places, and ``mrr`` leaves queries
    without a hit among them out. Exact: ``exact_one_percent`` looks at all of the first percent, ``mrr_misses_zero``
    counts misses as zero, ``mrr_full`` ranks the whole database.
    """

    recall: np.ndarray
    one_percent: float
    mrr: float
    evaluated: int
    threshold: int
    exact_one_percent: float
    mrr_misses_zero: float
    mrr_full: float
    neighbours: np.ndarray


def place_recall(
    positions: np.ndarray,
    descriptors: np.ndarray,
    query_positions: np.ndarray,
    query_descriptors: np.ndarray,
    radius: float,
) -> PlaceRecall:
    """``positions`` (N, 2) metres and ``descriptors`` (N, C) of the database and of the queries (M, ...).

    A place within ``radius`` is a true neighbour; places are ranked by the distance of descriptors.
    """
    apart = np.linalg.norm(query_positions[:, None] - positions[None], axis=2)
    true = apart <= radius
    neighbours = true.sum(1)
    asked = neighbours > 0
    left, right = query_descriptors[asked].astype(np.float64), descriptors.astype(np.float64)
    distance = (left**2).sum(1)[:, None] - 2 * left @ right.T + (right**2).sum(1)[None]
    ranked = np.take_along_axis(true[asked], distance.argsort(1, kind="stable"), 1)
    number = int(asked.sum())
    threshold = max(round(len(positions) / 100), 1)
    if not number:
        return PlaceRecall(np.zeros(RETRIEVED), 0.0, 0.0, 0, threshold, 0.0, 0.0, 0.0, neighbours)
    rank = ranked.argmax(1) + 1
    recall = np.array([100 * np.mean(rank <= k) for k in range(1, RETRIEVED + 1)])
    seen = rank <= RETRIEVED
    return PlaceRecall(
        recall,
        float(100 * np.mean(rank <= min(threshold, RETRIEVED))),
        float(100 * np.mean(1 / rank[seen])) if seen.any() else 0.0,
        number,
        threshold,
        float(100 * np.mean(rank <= threshold)),
        float(100 * np.mean(np.where(seen, 1 / rank, 0.0))),
        float(100 * np.mean(1 / rank)),
        neighbours,
    )
