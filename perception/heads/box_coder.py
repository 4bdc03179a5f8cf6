"""Boxes as residuals to anchors (Yan et al. 2018, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Residuals (..., 7): centre over the anchor's diagonal (height for z), log of the sizes, heading difference."""
    diagonal = torch.hypot(anchors[..., 3], anchors[..., 4])
    return torch.stack(
        [
            (boxes[..., 0] - anchors[..., 0]) / diagonal,
            (boxes[..., 1] - anchors[..., 1]) / diagonal,
            (boxes[..., 2] - anchors[..., 2]) / anchors[..., 5],
            *(boxes[..., 3:6].clamp(min=1e-5) / anchors[..., 3:6].clamp(min=1e-5)).log().unbind(-1),
            boxes[..., 6] - anchors[..., 6],
        ],
        -1,
    )


def decode(residuals: Tensor, anchors: Tensor) -> Tensor:
    """The inverse of ``encode``: boxes (..., 7)."""
    diagonal = torch.hypot(anchors[..., 3], anchors[..., 4])
    return torch.stack(
        [
            residuals[..., 0] * diagonal + anchors[..., 0],
            residuals[..., 1] * diagonal + anchors[..., 1],
            residuals[..., 2] * anchors[..., 5] + anchors[..., 2],
            *(residuals[..., 3:6].exp() * anchors[..., 3:6]).unbind(-1),
            residuals[..., 6] + anchors[..., 6],
        ],
        -1,
    )
