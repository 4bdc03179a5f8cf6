"""Focals Conv (Chen et al., CVPR 2022): detectors on a backbone whose important cells grow, as published.

Lidar alone: PV-RCNN and Voxel R-CNN for KITTI, CenterPoint for Waymo and nuScenes. ``focals_images`` has those that see
images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from perception.backbones.focal import FocalEncoder, FocalOptions, FocalResNet, Importance, importances
from perception.backbones.sparse_encoder import FourStages
from perception.config import config
from perception.errors import PerceptionError
from perception.heads.centre_head import CentrePredictions
from perception.losses.objectness import objectness_loss
from perception.models.centerpoint import WAYMO_PLAIN, CenterPoint, CenterPointConfig
from perception.models.detector import Voxels
from perception.models.pv_rcnn import PVRCNN, PVRCNNConfig
from perception.models.two_stage import TwoStageDetector
from perception.models.voxel_rcnn import VoxelRCNN, VoxelRCNNConfig
from perception.sparse import SparseTensor


@config
class FocalsVoxelRCNNConfig(VoxelRCNNConfig):
    """Of KITTI's three classes: one focal convolution, of 5 x 5 x 5 cells, after the first stage."""

    focal: FocalOptions = FocalOptions(kernel=5, use_stages=(1,))


@config
class FocalsPVRCNNConfig(PVRCNNConfig):
    """Of KITTI's three classes."""

    focal: FocalOptions = FocalOptions(mask=True)


@config
class FocalsCenterPointConfig(CenterPointConfig):
    """Defaults are those of nuScenes, as the authors gave them for lidar alone; ``WAYMO_FOCALS`` has Waymo's.

    nuScenes' importances were never supervised there, for its time; nothing then teaches which neighbours to propose.
    """

    focal: FocalOptions = FocalOptions(mask=True, average=False, supervision="none")

    def __post_init__(self) -> None:
        if self.backbone not in ("residual", "plain"):
            raise PerceptionError(f"focal convolutions on {self.backbone}", "backbone residual or plain")


class FocalBackbone(TwoStageDetector):
    """What a two-stage detector does otherwise with a focal encoder: its stages come with predicted importances."""

    config: Any

    def make_backbone(self, inputs: int) -> FourStages:
        return FocalEncoder(inputs, self.config.focal)

    def backbone_stages(self, volume: SparseTensor) -> tuple[list[SparseTensor], list[Importance]]:
        maps = self.backbone.stages(volume)
        return maps, importances(maps)

    def auxiliary_loss(self, auxiliary: list[Importance], boxes: Sequence[Tensor]) -> dict[str, Tensor]:
        return {"objectness": objectness_loss(auxiliary, boxes, self.grid, self.config.focal.supervision)}


class FocalsVoxelRCNN(FocalBackbone, VoxelRCNN):
    """Voxel R-CNN on a focal encoder."""

    config: FocalsVoxelRCNNConfig

    def __init__(self, config: FocalsVoxelRCNNConfig | None = None) -> None:
        super().__init__(config or FocalsVoxelRCNNConfig())


class FocalsPVRCNN(FocalBackbone, PVRCNN):
    """PV-RCNN on a focal encoder."""

    config: FocalsPVRCNNConfig

    def __init__(self, config: FocalsPVRCNNConfig | None = None) -> None:
        super().__init__(config or FocalsPVRCNNConfig())


@dataclass(frozen=True, eq=False)
class FocalCentrePredictions(CentrePredictions):
    """Predictions of the head, and the ``importances`` that led to them."""

    importances: tuple[Importance, ...] = ()


class FocalsCenterPoint(CenterPoint):
    """CenterPoint on a focal encoder."""

    config: FocalsCenterPointConfig
    stages = tuple(name for name in TwoStageDetector.stages if name != "roi")

    def __init__(self, config: FocalsCenterPointConfig | None = None) -> None:
        config = config or FocalsCenterPointConfig()
        super().__init__(config)
        encoder = {"residual": FocalResNet, "plain": FocalEncoder}[config.backbone]
        self.backbone = encoder(3 + len(config.point_fields), config.focal)

    def forward(self, voxels: Voxels) -> FocalCentrePredictions:
        backbone: Any = self.backbone
        maps = backbone.stages(self.sparse(voxels))
        found = self.head(self.bev(self.flatten(backbone.out(maps[-1]))))
        return FocalCentrePredictions(found.tasks, tuple(importances(maps)))

    def loss(self, predictions: Any, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> dict[str, Tensor]:
        parts = super().loss(predictions, boxes, labels)
        objectness = objectness_loss(predictions.importances, boxes, self.grid, self.config.focal.supervision)
        return {**parts, "loss": parts["loss"] + objectness, "objectness": objectness}


WAYMO_FOCALS = FocalsCenterPointConfig(
    **{name: getattr(WAYMO_PLAIN, name) for name in vars(WAYMO_PLAIN)}, focal=FocalOptions(enlarge=None)
)
