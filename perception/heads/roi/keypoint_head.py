"""The second stage of PV-RCNN (Shi et al. 2020, section 3.3): keypoints around a grid of points in each proposal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from perception.heads.roi.aggregation import Aggregation, Ball
from perception.heads.roi.grid import grid_points
from perception.heads.roi.proposals import Proposals, Refined
from perception.heads.roi.refine_head import RefineHead, RefineLayers
from perception.heads.roi.set_abstraction import Keypoints
from perception.points import PointBatch


@dataclass(frozen=True, eq=False)
class WeightedKeypoints:
    """``keypoints`` and the logits (M,) that they lie on an object."""

    keypoints: Keypoints
    logits: Tensor


class KeypointRoIHead(nn.Module):
    """``size`` grid points an axis in each proposal, each with the keypoints in balls around it."""

    def __init__(self, inputs: int, balls: Sequence[Ball], size: int, layers: RefineLayers) -> None:
        super().__init__()
        self.size = size
        self.pool = Aggregation(inputs, balls)
        self.refine = RefineHead(size**3 * self.pool.channels, layers)

    def forward(self, scene: WeightedKeypoints, proposals: Proposals) -> Refined:
        places = scene.keypoints.places
        weighted = scene.keypoints.features.float() * scene.logits.float().sigmoid()[:, None]
        points = PointBatch(torch.cat([places.xyz, weighted], 1), places.sample, places.batch_size)
        centres = grid_points(proposals.boxes, self.size).flatten(0, 1)
        sample = proposals.sample.repeat_interleave(self.size**3)
        pooled = self.pool(points, PointBatch(centres, sample, places.batch_size))
        scores, residuals = self.refine(pooled.view(len(proposals), self.refine.inputs))
        return Refined(proposals, scores, residuals)
