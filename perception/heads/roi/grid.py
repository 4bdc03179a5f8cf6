"""Points at which a second stage looks into a proposal."""

from __future__ import annotations

import torch
from torch import Tensor

from perception.heads.roi.refinement import turn


def grid_points(boxes: Tensor, size: int) -> Tensor:
    """Centres of ``size`` cells an axis in each box (R, 7): (R, size ** 3, 3), x slowest and z fastest."""
    steps = torch.arange(size, device=boxes.device, dtype=boxes.dtype)
    index = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), -1).view(1, -1, 3)
    extent = boxes[:, None, 3:6]
    local = (index + 0.5) / size * extent - extent / 2
    planar = turn(local[..., :2], boxes[:, 6])
    return torch.cat([planar, local[..., 2:]], -1) + boxes[:, None, :3]
