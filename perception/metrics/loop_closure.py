"""Loop closure: how well the distance of the nearest place tells whether the place is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class LoopClosure:
    """Precision and recall at each threshold of the distance, ascending; ``max_f1`` and the threshold that gives it.

    ``recall_at_full_precision``: the share of revisits that are found before the first wrong one.
    """

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    max_f1: float
    best_threshold: float
    recall_at_full_precision: float
    revisits: int


def loop_closure(distances: np.ndarray, right: np.ndarray, revisit: np.ndarray) -> LoopClosure:
    """Of each of N queries the distance of its nearest place, whether that is a true neighbour, whether it has one.

    A query whose distance is below a threshold is called a revisit: rightly if its nearest place is one. A query that
    has no true neighbour can only be called one wrongly; one that has is missed while it is not called, or wrongly.
    """
    order = np.argsort(distances, kind="stable")
    sorted_distances, hits = np.asarray(distances)[order], np.asarray(right, bool)[order]
    found, called = hits.cumsum(), np.arange(1, len(hits) + 1)
    last = np.append(sorted_distances[1:] != sorted_distances[:-1], True) if len(hits) else np.zeros(0, bool)
    thresholds, found, called = sorted_distances[last], found[last], called[last]
    revisits = int(np.sum(revisit))
    precision, recall = found / np.maximum(called, 1), found / max(revisits, 1)
    total = precision + recall
    f1 = np.where(total > 0, 2 * precision * recall / np.where(total > 0, total, 1), 0.0)
    best = int(f1.argmax()) if len(f1) else -1
    full = recall[precision >= 1.0].max(initial=0.0)
    return LoopClosure(
        thresholds,
        precision,
        recall,
        float(f1[best]) if best >= 0 else 0.0,
        float(thresholds[best]) if best >= 0 else 0.0,
        float(full),
        revisits,
    )
