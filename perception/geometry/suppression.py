"""Non-maximum suppression of oriented boxes seen from above."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.geometry.greedy import greedy_suppression
from perception.geometry.overlap import as_rows


def nms(boxes: Tensor, scores: Tensor, threshold: float, maximum: int | None = None) -> Tensor:
    """Indices of the boxes to keep, best first: those whose IoU with no better kept one is above ``threshold``.

    ``boxes`` (N, 7), ``scores`` (N,); equal scores keep the order of the rows. Runs on the CPU; the indices come back
    on the boxes' device. Boxes without area or with values that are not finite overlap nothing, so they stay.
    Raises PerceptionError for scores that are not numbers: they have no place in an order.
    """
    if scores.shape != boxes.shape[:1]:
        raise PerceptionError(f"scores of shape {tuple(scores.shape)} for {len(boxes)} boxes", "one score a box")
    if bool(scores.isnan().any()):
        raise PerceptionError(
            f"{int(scores.isnan().sum())} of {len(scores)} scores are not numbers",
            "finite scores",
            "drop these boxes first, and look for an overflow in the model that gave them",
        )
    order = torch.argsort(scores.detach().cpu(), descending=True, stable=True).numpy()
    limit = len(boxes) if maximum is None else min(maximum, len(boxes))
    kept = greedy_suppression(as_rows(boxes), order, float(threshold), limit)
    return torch.from_numpy(kept).to(boxes.device)


def nms_per_class(
    boxes: Tensor, scores: Tensor, labels: Tensor, thresholds: float | Sequence[float], maximum: int | None = None
) -> Tensor:
    """``nms`` within each class 0 .. C-1, results class after class; ``thresholds`` one for all or one a class."""
    number = int(labels.max()) + 1 if len(labels) else 0
    limits = [thresholds] * number if isinstance(thresholds, (int, float)) else list(thresholds)
    if len(limits) < number:
        raise PerceptionError(f"{len(limits)} thresholds for the labels 0 to {number - 1}", "one threshold a class")
    kept = []
    for label, threshold in enumerate(limits):
        rows = (labels == label).nonzero()[:, 0]
        kept.append(rows[nms(boxes[rows], scores[rows], threshold, maximum)])
    return torch.cat(kept) if kept else torch.zeros(0, dtype=torch.int64, device=boxes.device)
