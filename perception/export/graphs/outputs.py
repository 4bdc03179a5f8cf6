"""Heads as graphs: from a map to the best candidates with decoded boxes; thresholds and suppression stay outside."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from perception.boxes import wrap_angle
from perception.heads.anchor_head import AnchorHead
from perception.heads.anchors import make_anchors
from perception.heads.centre_grid import decode
from perception.heads.centre_head import CentreHead, value_names
from perception.heads.dense_branches import answers_at
from perception.heads.selection import every_class


class AnchorOutput(nn.Module):
    """Map (1, C, H, W) to ``boxes`` (K, 7), ``scores`` (K,) and ``labels`` (K,) of the best anchors, best first.

    ``class_by_class``: each of these anchors once a class, (K * classes) rows.
    """

    anchors: Tensor
    scales: Tensor

    def __init__(self, head: AnchorHead, shape: tuple[int, int], candidates: int, class_by_class: bool) -> None:
        super().__init__()
        self.classes, self.offset = len(head.classes), head.direction_offset
        self.class_by_class = class_by_class
        parts = (head.score, head.residual, head.direction)
        self.widths = [part.out_channels for part in parts]
        self.maps = nn.Conv2d(head.score.in_channels, sum(self.widths), 1)
        with torch.no_grad():
            self.maps.weight.copy_(torch.cat([part.weight for part in parts]))
            self.maps.bias.copy_(torch.cat([part.bias for part in parts]))  # type: ignore[union-attr, misc]
        anchors = make_anchors(head.classes, head.point_range, shape, head.centred).view(-1, 7)
        diagonal = torch.hypot(anchors[:, 3:4], anchors[:, 4:5])
        self.candidates = min(candidates, len(anchors))
        self.register_buffer("anchors", anchors)
        self.register_buffer("scales", torch.cat([diagonal, diagonal, anchors[:, 5:6]], 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.maps(x).float().split(self.widths, 1)
        scores, residuals, directions = (
            part.permute(0, 2, 3, 1).reshape(-1, width) for part, width in zip(parts, (self.classes, 7, 2))
        )
        best, label = scores.max(1)
        logit, row = best.topk(self.candidates)
        boxes = self._decode(residuals.index_select(0, row), directions.index_select(0, row), row)
        if self.class_by_class:
            return every_class(boxes, scores.index_select(0, row).sigmoid())
        return boxes, logit.sigmoid(), label.index_select(0, row)

    def _decode(self, residuals: Tensor, directions: Tensor, row: Tensor) -> Tensor:
        anchors, scales = self.anchors.index_select(0, row), self.scales.index_select(0, row)
        centre = residuals[:, :3] * scales + anchors[:, :3]
        size = residuals[:, 3:6].exp() * anchors[:, 3:6]
        heading = residuals[:, 6] + anchors[:, 6]
        heading = wrap_angle(heading - self.offset, torch.pi, 0.0) + self.offset
        heading = heading + torch.pi * (directions[:, 1] > directions[:, 0]).float()
        return torch.cat([centre, size, heading[:, None]], 1)


class CentreOutput(nn.Module):
    """Map to ``boxes`` (T * K, 7 or 9), ``scores`` and ``labels`` (T * K,) of the K best peaks of each of T tasks.

    A head that predicts overlaps adds ``overlap`` (T * K,), which is 2 IoU - 1. Values are computed in the 5 x 5 cells
    around the peaks alone.
    """

    def __init__(self, head: CentreHead, peaks: int) -> None:
        super().__init__()
        self.head, self.peaks = head, peaks

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        shared = self.head.shared(x)
        found = [self._task(shared, task) for task in range(len(self.head.tasks))]
        return tuple(torch.cat(parts) for parts in zip(*found))

    def _task(self, shared: Tensor, task: int) -> tuple[Tensor, ...]:
        head, branches = self.head, self.head.tasks[task]
        height, width = shared.shape[2:]
        scores = branches["heatmap"](shared).float().sigmoid().flatten()  # type: ignore[index]
        scores, top = scores.topk(min(self.peaks, scores.shape[0]))
        cell = top % (height * width)
        label = torch.div(top, height * width, rounding_mode="floor") + head.ranges[task].start
        names = value_names(head.velocity) + (["overlap"] if head.has_overlap else [])
        networks: Any = [branches[name] for name in names]  # type: ignore[index]
        values = [part.float() for part in answers_at(networks, shared, torch.zeros_like(cell), cell)]
        overlap = (values.pop()[:, 0],) if head.has_overlap else ()
        place = torch.stack([cell % width, torch.div(cell, width, rounding_mode="floor")], 1)
        return decode(place, torch.cat(values, 1), head.grid), scores, label, *overlap
