"""What all detectors share: the way from clouds to boxes, stage by stage."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from perception.heads.anchor_head import AnchorHead, AnchorPredictions
from perception.heads.anchors import AnchorClass
from perception.models.model import Model
from perception.points import PointBatch, PointCloud
from perception.results import Detections
from perception.sparse import VoxelGrid

Voxels = Any  # HardVoxels or DynamicVoxels: what the model's own encoder takes


def class_names(config: Any) -> tuple[str, ...]:
    """What a detector of this configuration finds: its ``classes``, anchors or names, or those of all its ``tasks``."""
    if hasattr(config, "tasks"):
        return tuple(name for names in config.tasks for name in names)
    return tuple(getattr(kind, "name", kind) for kind in config.classes)


class Detector(Model):
    """A model of boxes, its ``config`` has ``classes`` or ``tasks``, ``point_range``, ``voxel_size``, ``point_fields``.

    Its ``ground_height`` is that of the road in metres, in the frame of the data that the model is for.
    """

    task = "detection"

    @property
    def ground_height(self) -> float:
        """Height of the road in the frame that the model learned in, metres."""
        return float(self.config.ground_height)

    @property
    def classes(self) -> tuple[str, ...]:
        return class_names(self.config)

    @property
    def grid(self) -> VoxelGrid:
        return VoxelGrid(self.config.point_range, self.config.voxel_size)

    def points(self, clouds: Sequence[PointCloud]) -> PointBatch:
        return PointBatch.from_clouds(clouds, self.config.point_fields, self.device)


class AnchorDetector(Detector):
    """Voxels, a backbone, a bird's-eye-view map and an anchor head.

    Subclasses set ``config``, ``encoder``, ``bev`` and ``head``, and write ``voxelise`` and ``features``.
    """

    head: AnchorHead

    @abstractmethod
    def features(self, voxels: Voxels) -> Tensor:
        """Bird's-eye-view features (B, C, H, W)."""

    def forward(self, voxels: Voxels) -> AnchorPredictions:
        return self.head(self.features(voxels))

    def loss(
        self, predictions: AnchorPredictions, boxes: Sequence[Tensor], labels: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        return self.head.loss(predictions, boxes, labels, self.config.loss)

    def results(self, predictions: AnchorPredictions) -> list[Detections]:
        """Scored, decoded and suppressed boxes of each sample."""
        return self.head.results(predictions, self.config.selection)


KITTI_CLASSES = (
    AnchorClass("Car", (3.9, 1.6, 1.56), -1.78, 0.6, 0.45),
    AnchorClass("Pedestrian", (0.8, 0.6, 1.73), -0.6, 0.5, 0.35),
    AnchorClass("Cyclist", (1.76, 0.6, 1.73), -0.6, 0.5, 0.35),
)
