"""Suppression by the distance of centres ("circle NMS" of CenterPoint's authors)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from perception.compiled import compiled


def circle_nms(boxes: Tensor, scores: Tensor, radius: float, maximum: int | None = None) -> Tensor:
    """Indices of the boxes to keep, best first: those with no better kept one within ``radius``, metres on the ground.

    ``boxes`` (N, 2 or more), x y first; ``scores`` (N,); equal scores keep the order of the rows. Runs on the CPU.
    """
    order = scores.detach().cpu().argsort(descending=True, stable=True).numpy()
    centres = boxes[:, :2].detach().double().cpu().numpy()
    limit = len(boxes) if maximum is None else min(maximum, len(boxes))
    return torch.from_numpy(_visit(centres, order, float(radius) ** 2, limit)).to(boxes.device)


@compiled
def _visit(centres: np.ndarray, order: np.ndarray, square: float, maximum: int) -> np.ndarray:
    kept = np.empty(maximum, np.int64)
    number = 0
    for row in order:
        if number == maximum:
            break
        free = True
        for other in kept[:number]:
            dx, dy = centres[row, 0] - centres[other, 0], centres[row, 1] - centres[other, 1]
            if dx * dx + dy * dy <= square:
                free = False
                break
        if free:
            kept[number] = row
            number += 1
    return kept[:number]
