"""Boxes in the frame of a proposal: its centre is the origin, its heading the x axis (Shi et al. 2019, PointRCNN)."""

from __future__ import annotations

import torch
from torch import Tensor

from perception.boxes import wrap_angle
from perception.heads import box_coder


def encode(boxes: Tensor, proposals: Tensor) -> Tensor:
    """Residuals (R, 7) that turn proposals (R, 7) into boxes (R, 7).

    A box that points against its proposal is taken for one that points along: the second stage corrects headings by up
    to a quarter turn, and leaves the direction to the first.
    """
    local = torch.cat([boxes[:, :3] - proposals[:, :3], boxes[:, 3:6]], 1)
    planar = turn(local[:, :2], -proposals[:, 6])
    heading = wrap_angle(boxes[:, 6] - proposals[:, 6], torch.pi, 0.5)
    local = torch.cat([planar, local[:, 2:], heading[:, None]], 1)
    return box_coder.encode(local, _at_origin(proposals))


def decode(residuals: Tensor, proposals: Tensor) -> Tensor:
    """The inverse of ``encode``, up to the direction: boxes (R, 7)."""
    local = box_coder.decode(residuals, _at_origin(proposals))
    planar = turn(local[:, :2], proposals[:, 6]) + proposals[:, :2]
    height = local[:, 2:3] + proposals[:, 2:3]
    return torch.cat([planar, height, local[:, 3:6], (local[:, 6] + proposals[:, 6])[:, None]], 1)


def turn(points: Tensor, angle: Tensor) -> Tensor:
    """Points (R, ..., 2) turned by angles (R,) counter-clockwise."""
    angle = angle.view(-1, *(1,) * (points.ndim - 2))
    cos, sin = angle.cos(), angle.sin()
    x, y = points.unbind(-1)
    return torch.stack([x * cos - y * sin, x * sin + y * cos], -1)


def _at_origin(proposals: Tensor) -> Tensor:
    size = proposals[:, 3:6]
    return torch.cat([torch.zeros_like(size), size, torch.zeros_like(size[:, :1])], 1)
