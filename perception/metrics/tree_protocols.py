"""How others count trees, under their names, so that figures can be compared with published ones.

``segmentanytree_tracker`` and ``segmentanytree_paper``: the two protocols of SegmentAnyTree's published code (Wielgosz
et al. 2024). ``treelearn``: TreeLearn's (Henrich et al. 2024, section 3.6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perception.metrics.trees import TreeOverlaps, tree_overlaps


@dataclass(frozen=True, eq=False)
class PlotTrees:
    """Ids of each point of one plot, 0 for no tree: ``true`` and ``predicted`` (N,); ``z`` (N,) its height in the file
    and ``height`` (N,) above the ground, both in metres."""

    true: np.ndarray
    predicted: np.ndarray
    z: np.ndarray
    height: np.ndarray

    def overlaps(self) -> TreeOverlaps:
        return tree_overlaps(self.true, self.predicted)


def segmentanytree_tracker(plots: Sequence[PlotTrees]) -> dict[str, float]:
    """Each prediction takes its best tree, hits from a half on; two predictions may hit one tree, and recall can
    exceed 1. Coverage, and coverage weighted by points. Pooled over plots."""
    hits, true, predicted, best, sizes = [], 0, 0, [], []
    for plot in plots:
        found = plot.overlaps()
        scores = found.scores_not_one_to_one()
        hits += [overlap for *_, overlap in scores.pairs]
        true, predicted = true + scores.true, predicted + scores.predicted
        best.append(found.iou.max(1, initial=0.0))
        sizes.append(found.sizes)
    precision, recall = _share(len(hits), predicted), _share(len(hits), true)
    f1 = _share(2 * precision * recall, precision + recall)
    quality = float(np.mean(hits)) if hits else 0.0
    covered, weights = np.concatenate([*best, np.zeros(0)]), np.concatenate([*sizes, np.zeros(0)])
    return {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "segmentation_quality": quality,
        "panoptic_quality": f1 * quality,
        "coverage": float(covered.mean()) if len(covered) else 0.0,
        "weighted_coverage": float(np.average(covered, weights=weights)) if weights.sum() else 0.0,
    }


def segmentanytree_paper(plots: Sequence[PlotTrees]) -> dict[str, float]:
    """True trees, the largest first, each take the best label that is left; points without a tree are a label too.

    Commission is the share of such pairs that overlap by no more than a half: predictions that no tree took do not
    count. Precision, recall and F1 are means over pairs of those of their points, also weighted by height.
    """
    rows = [row for plot in plots for row in _greedy_pairs(plot)]
    true = sum(len(np.unique(plot.true[plot.true > 0])) for plot in plots)
    overlap, precision, recall, residual, height = (np.array(v, float) for v in (zip(*rows) if rows else [()] * 5))
    detected = int((overlap > 0.5).sum())
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return {
        "detection": _share(detected, true),
        "omission": 1 - _share(detected, true) if true else 0.0,
        "commission": _share(len(rows) - detected, len(rows)),
        "tree_precision": _mean(precision),
        "tree_recall": _mean(recall),
        "tree_f1": _mean(f1),
        "tree_f1_by_height": float(np.average(f1, weights=height)) if height.sum() else 0.0,
        "height_residual": _mean(residual),
        "height_rmse": float(np.sqrt(_mean(residual**2))),
    }


def treelearn(plots: Sequence[PlotTrees]) -> dict[str, float]:
    """All trees assigned for the largest sum of overlaps, pairs above a half counted. A prediction without a pair
    counts only where half of its points or more lie on true trees."""
    hits, true, wrong = 0, 0, 0
    for plot in plots:
        scores = plot.overlaps().scores("filtered")
        paired = {predicted for _, predicted, _ in scores.pairs}
        ids, counts = np.unique(plot.predicted[plot.predicted > 0], return_counts=True)
        inside = np.array([np.count_nonzero(plot.true[plot.predicted == i] > 0) for i in ids], float)
        known = inside >= 0.5 * counts
        wrong += sum(1 for i, counted in zip(ids.tolist(), known) if i not in paired and counted)
        hits, true = hits + len(scores.pairs), true + scores.true
    precision, recall = _share(hits, hits + wrong), _share(hits, true)
    return {
        "precision": precision,
        "recall": recall,
        "f1": _share(2 * precision * recall, precision + recall),
        "omission": _share(true - hits, true),
        "commission": _share(wrong, hits + wrong),
    }


PROTOCOLS = {
    "segmentanytree_tracker": segmentanytree_tracker,
    "segmentanytree_paper": segmentanytree_paper,
    "treelearn": treelearn,
}


def _greedy_pairs(plot: PlotTrees) -> list[tuple[float, float, float, float, float]]:
    """Overlap, precision, recall, true less predicted height, and true height of each pair."""
    # The published code adds 1 to all predicted ids, so that 0 is one of them.
    predicted = plot.predicted.astype(np.int64) + 1
    found = tree_overlaps(plot.true, predicted)
    iou, pairs = found.iou.copy(), []
    for row in np.argsort(-found.sizes, kind="stable"):
        if not iou.shape[1] or iou[row].max() <= 0:
            continue
        column = int(iou[row].argmax())
        iou[:, column] = -1
        mine, other = plot.true == found.true_ids[row], predicted == found.predicted_ids[column]
        common = np.count_nonzero(mine & other)
        heights = [float(np.ptp(plot.z[rows])) for rows in (mine, other)]
        pairs.append(
            (found.iou[row, column], common / other.sum(), common / mine.sum(), heights[0] - heights[1], heights[0])
        )
    return pairs


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0
