"""Agreement of tree instances with the truth, over points: one-to-one matching and the modes that others publish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from perception.errors import PerceptionError

Matching = Literal["unique", "filtered"]


@dataclass(frozen=True)
class TreeScores:
    """``pairs`` are (true id, predicted id, overlap). Recognition quality is ``f1``; panoptic quality f1 times sq."""

    pairs: list[tuple[int, int, float]]
    true: int
    predicted: int

    @property
    def precision(self) -> float:
        return len(self.pairs) / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        return len(self.pairs) / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        total = self.true + self.predicted
        return 2 * len(self.pairs) / total if total else 0.0

    @property
    def segmentation_quality(self) -> float:
        return float(np.mean([overlap for *_, overlap in self.pairs])) if self.pairs else 0.0

    @property
    def panoptic_quality(self) -> float:
        return self.f1 * self.segmentation_quality


@dataclass(frozen=True, eq=False)
class TreeOverlaps:
    """``iou`` (true trees, predicted trees) over points; ``sizes`` points of each true tree."""

    iou: np.ndarray
    true_ids: np.ndarray
    predicted_ids: np.ndarray
    sizes: np.ndarray

    def scores(self, matching: Matching = "unique") -> TreeScores:
        """Pairs that overlap by more than a half.

        ``unique``: every such pair; no tree has two. ``filtered`` assigns all trees for the largest sum of overlaps
        first and drops small ones then, as TreeLearn does, which can lose a valid pair.
        """
        if matching == "unique":
            rows, columns = np.nonzero(self.iou > 0.5)
        else:
            rows, columns = _assign(self.iou)
            kept = self.iou[rows, columns] > 0.5
            rows, columns = rows[kept], columns[kept]
        return self._scores(rows, columns)

    def scores_not_one_to_one(self) -> TreeScores:
        """Each prediction takes its best tree, a hit from a half on; a tree may be hit twice.

        SegmentAnyTree's tracker counts so.
        """
        columns = np.arange(self.iou.shape[1])
        rows = self.iou.argmax(0) if len(self.iou) else columns[:0]
        columns = columns[: len(rows)]
        kept = self.iou[rows, columns] >= 0.5
        return self._scores(rows[kept], columns[kept])

    def coverage(self, weighted: bool = False) -> float:
        """Mean over the true trees of their best overlap, ``weighted`` by their points."""
        if not len(self.iou):
            return 0.0
        best = self.iou.max(1, initial=0.0)
        return float(np.average(best, weights=self.sizes if weighted else None))

    def _scores(self, rows: np.ndarray, columns: np.ndarray) -> TreeScores:
        pairs = [
            (int(self.true_ids[r]), int(self.predicted_ids[c]), float(self.iou[r, c])) for r, c in zip(rows, columns)
        ]
        return TreeScores(pairs, len(self.true_ids), len(self.predicted_ids))


def tree_overlaps(true: np.ndarray, predicted: np.ndarray) -> TreeOverlaps:
    """Overlaps of instances; ``true`` and ``predicted`` (N,) are ids of each point, 0 for no tree."""
    if true.shape != predicted.shape or true.ndim != 1:
        raise PerceptionError(f"labels of shapes {true.shape} and {predicted.shape}", "one id for each point in both")
    true_ids, predicted_ids = (np.unique(ids[ids != 0]) for ids in (true, predicted))
    both = (true != 0) & (predicted != 0)
    cell = np.searchsorted(true_ids, true[both]) * len(predicted_ids) + np.searchsorted(predicted_ids, predicted[both])
    common = np.bincount(cell, minlength=len(true_ids) * len(predicted_ids)).reshape(len(true_ids), len(predicted_ids))
    sizes = [
        np.array([np.count_nonzero(ids == i) for i in known])
        for ids, known in ((true, true_ids), (predicted, predicted_ids))
    ]
    union = sizes[0].reshape(-1, 1) + sizes[1].reshape(1, -1) - common
    return TreeOverlaps(common / np.maximum(union, 1), true_ids, predicted_ids, sizes[0])


def _assign(iou: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise PerceptionError("the assignment of TreeLearn needs scipy", "scipy", "pip install scipy") from None
    rows, columns = linear_sum_assignment(iou, maximize=True)
    return np.asarray(rows), np.asarray(columns)
