"""What all detectors share: the way from clouds to boxes, stage by stage."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from perception.heads.anchor_head import AnchorHead, AnchorLossWeights, AnchorPredictions, Selection
from perception.heads.anchors import AnchorClass
from perception.points import PointBatch, PointCloud
from perception.results import Detections
from perception.sparse import VoxelGrid

Voxels = Any  # HardVoxels or DynamicVoxels: what the model's own encoder takes


class AnchorDetector(nn.Module):
    """Voxels, a backbone, a bird's-eye-view map and an anchor head.

    Subclasses set ``config`` (with the fields read below), ``encoder``, ``bev`` and ``head``, and write ``voxelise``
    and ``features``. ``stages`` names the submodules in the order they run, for timing and for comparison with others.
    """

    task: ClassVar[str] = "detection"
    stages: ClassVar[tuple[str, ...]]
    config: Any
    head: AnchorHead

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(kind.name for kind in self.config.classes)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def grid(self) -> VoxelGrid:
        return VoxelGrid(self.config.point_range, self.config.voxel_size)

    def points(self, clouds: Sequence[PointCloud]) -> PointBatch:
        """Stack clouds with the point features that the model reads, on the model's device."""
        return PointBatch.from_clouds(clouds, self.config.point_fields, self.device)

    @abstractmethod
    def voxelise(self, points: PointBatch) -> Voxels:
        """Group points into the model's voxels."""

    @abstractmethod
    def features(self, voxels: Voxels) -> Tensor:
        """Bird's-eye-view features (B, C, H, W)."""

    def forward(self, voxels: Voxels) -> AnchorPredictions:
        return self.head(self.features(voxels))

    def loss(
        self, predictions: AnchorPredictions, boxes: Sequence[Tensor], labels: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """``loss`` and its parts; ``boxes`` (N, 7) and class indices ``labels`` (N,) of each sample."""
        return self.head.loss(predictions, boxes, labels, self.config.loss)

    def results(self, predictions: AnchorPredictions) -> list[Detections]:
        """Scored, decoded and suppressed boxes of each sample."""
        return self.head.results(predictions, self.config.selection)


KITTI_CLASSES = (
    AnchorClass("Car", (3.9, 1.6, 1.56), -1.78, 0.6, 0.45),
    AnchorClass("Pedestrian", (0.8, 0.6, 1.73), -0.6, 0.5, 0.35),
    AnchorClass("Cyclist", (1.76, 0.6, 1.73), -0.6, 0.5, 0.35),
)

__all__ = ["KITTI_CLASSES", "AnchorClass", "AnchorDetector", "AnchorLossWeights", "Selection", "Voxels"]
