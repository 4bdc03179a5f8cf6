"""Which queries become candidates, and which of their boxes results."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from perception.boxes import Boxes3D
from perception.config import config
from perception.geometry import nms
from perception.heads.centre_selection import best
from perception.results import Detections

Range = tuple[float, float, float, float, float, float]


@config
class QuerySelection:
    """``score_threshold`` in front of rectification; ``centre_range`` x y z low, then high, metres.

    ``rectifier``: power a by which predicted overlaps change scores to score^(1 - a) * overlap^a. Boxes of the classes
    ``suppressed`` that overlap a better one of their class by more than ``overlap`` go, of the best ``candidates`` at
    most ``maximum`` stay; no other class is suppressed.
    """

    score_threshold: float = 0.0
    centre_range: Range = (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0)
    rectifier: float | None = None
    suppressed: tuple[str, ...] = ()
    overlap: float = 0.175
    candidates: int = 1000
    maximum: int = 100


def peak_scores(scores: Tensor, window: int, every_cell: Sequence[int]) -> Tensor:
    """Scores (B, C, H, W) with zeros where a neighbour within ``window`` cells scores higher.

    The border counts as no peak, as published (its maximum filter has no padding). Of the classes ``every_cell``, whose
    objects are smaller than the window, all cells stay.
    """
    margin = window // 2
    peak = scores == F.max_pool2d(scores, window, 1, margin)
    if margin:
        inner = torch.zeros_like(peak)
        inner[:, :, margin:-margin, margin:-margin] = True
        peak &= inner
    if every_cell:
        peak[:, list(every_cell)] = True
    return scores * peak


def top_queries(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Class and flat cell (B, P) of the ``count`` best scores (B, C, H, W), best first, equal ones in their order."""
    cells = scores.shape[2] * scores.shape[3]
    top = torch.stack([best(sample.flatten(), count, -1.0) for sample in scores])
    return torch.div(top, cells, rounding_mode="floor"), top % cells


def select(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    overlap: Tensor | None,
    rule: QuerySelection,
    classes: tuple[str, ...],
) -> Detections:
    """Results of one sample, best first, of boxes (P, 7 or 9), scores, labels and predicted overlaps 2 IoU - 1 (P,)."""
    low, high = boxes.new_tensor(rule.centre_range).view(2, 3)
    kept = (scores > rule.score_threshold) & ((boxes[:, :3] >= low) & (boxes[:, :3] <= high)).all(1)
    if overlap is not None and rule.rectifier is not None:
        scores = scores ** (1 - rule.rectifier) * ((overlap + 1) / 2).clamp(0, 1) ** rule.rectifier
    for name in rule.suppressed:
        rows = (kept & (labels == classes.index(name))).nonzero()[:, 0]
        kept[rows] = False
        rows = rows[scores[rows].argsort(descending=True, stable=True)[: rule.candidates]]
        kept[rows[nms(boxes[rows, :7], scores[rows], rule.overlap, rule.maximum)]] = True
    rows = kept.nonzero()[:, 0]
    rows = rows[scores[rows].argsort(descending=True, stable=True)]
    velocity = boxes[rows, 7:9] if boxes.shape[1] == 9 else None
    return Detections(Boxes3D(boxes[rows, :7], velocity), scores[rows], labels[rows], classes)
