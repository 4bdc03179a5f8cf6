"""Which decoded boxes become results."""

from __future__ import annotations

import torch
from torch import Tensor

from perception.config import config
from perception.geometry import nms, nms_per_class


@config
class Selection:
    """Score floor, candidates, overlap and number of the survivors of NMS.

    ``class_by_class``: boxes suppress those of their own class alone, and a candidate is one of each class whose score
    is above the floor, as in mmdet3d; otherwise it is of its best class, and all suppress each other.
    """

    score_threshold: float = 0.1
    candidates: int = 4096
    nms_overlap: float = 0.01
    maximum: int = 500
    class_by_class: bool = False


def survivors(boxes: Tensor, scores: Tensor, labels: Tensor, rule: Selection) -> Tensor:
    """Rows of ``boxes`` (N, 7) that stay, best first, of one class each: ``scores`` and ``labels`` (N,)."""
    if not rule.class_by_class:
        return nms(boxes, scores, rule.nms_overlap, rule.maximum)
    kept = nms_per_class(boxes, scores, labels, rule.nms_overlap)
    return kept[scores[kept].argsort(descending=True, stable=True)[: rule.maximum]]


def every_class(boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (N * C, 7) with scores and labels (N * C,), one of each class, of ``boxes`` (N, 7), ``scores`` (N, C)."""
    number, classes = scores.shape
    repeated = boxes[:, None].expand(number, classes, boxes.shape[1]).reshape(-1, boxes.shape[1])
    return repeated, scores.reshape(-1), torch.arange(classes, device=scores.device).repeat(number)
