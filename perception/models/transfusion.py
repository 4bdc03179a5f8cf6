"""TransFusion-L, the lidar-only TransFusion (Bai et al., CVPR 2022), as OpenPCDet publishes it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from perception.backbones.bev import BEVBackbone, FlattenHeight
from perception.backbones.sparse_encoder import encoded_depth
from perception.backbones.sparse_resnet import SparseResNet
from perception.backbones.voxel_encoders import MeanEncoder
from perception.config import config
from perception.heads.centre_grid import CentreGrid
from perception.heads.transfusion_head import QueryPredictions, TransFusionHead, TransFusionHeadConfig
from perception.heads.transfusion_loss import TransFusionLossWeights, transfusion_loss
from perception.heads.transfusion_selection import QuerySelection
from perception.models.centre_detector import NUSCENES_TASKS
from perception.models.detector import Detector
from perception.points import PointBatch
from perception.results import Detections
from perception.sparse import HardVoxels, SparseTensor, hard_voxelise

NUSCENES_CLASSES = tuple(name for names in NUSCENES_TASKS for name in names)


@config
class TransFusionConfig:
    """Defaults are those of nuScenes with ten sweeps; ``time`` is how old a point is, in seconds."""

    classes: tuple[str, ...] = NUSCENES_CLASSES
    point_fields: tuple[str, ...] = ("intensity", "time")
    point_range: tuple[float, float, float, float, float, float] = (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)
    ground_height: float = -1.84
    voxel_size: tuple[float, float, float] = (0.075, 0.075, 0.2)
    max_points: int = 10
    max_voxels: tuple[int, int] = (120_000, 160_000)
    layers: tuple[int, ...] = (5, 5)
    strides: tuple[int, ...] = (1, 2)
    filters: tuple[int, ...] = (128, 256)
    up_strides: tuple[int, ...] = (1, 2)
    up_filters: tuple[int, ...] = (256, 256)
    head: TransFusionHeadConfig = TransFusionHeadConfig()
    selection: QuerySelection = QuerySelection()
    loss: TransFusionLossWeights = TransFusionLossWeights()


class TransFusion(Detector):
    """Mean of each voxel, residual sparse encoder to 1/8, dense map, queries."""

    stages = ("encoder", "backbone", "flatten", "bev", "head")
    velocity = True

    def __init__(self, config: TransFusionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TransFusionConfig()
        self.encoder = MeanEncoder()
        self.backbone = SparseResNet(3 + len(config.point_fields), bias=False)
        self.flatten = FlattenHeight()
        self.bev = BEVBackbone(
            128 * encoded_depth(self.grid.shape[0] + 1),
            config.layers,
            config.strides,
            config.filters,
            config.up_strides,
            config.up_filters,
            conv_for_no_stride=True,
        )
        self.head = TransFusionHead(self.bev.channels, config.classes, CentreGrid.of(self.grid, 8), config.head)

    def voxelise(self, points: PointBatch) -> HardVoxels:
        return hard_voxelise(
            points, self.grid, self.config.max_points, self.config.max_voxels[0 if self.training else 1]
        )

    def features(self, voxels: HardVoxels) -> Tensor:
        """Bird's-eye-view features (B, C, H, W)."""
        depth, height, width = self.grid.shape
        # One spare cell in z lets the strided layers divide the height as the published models do.
        volume = SparseTensor.of(
            self.encoder(voxels), voxels.coordinates, (depth + 1, height, width), voxels.batch_size
        )
        return self.bev(self.flatten(self.backbone(volume)))

    def forward(self, voxels: HardVoxels) -> QueryPredictions:
        return self.head(self.features(voxels))

    def loss(
        self, predictions: QueryPredictions, boxes: Sequence[Tensor], labels: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        return transfusion_loss(self.head, predictions, boxes, labels, self.config.loss)

    def results(self, predictions: QueryPredictions) -> list[Detections]:
        """Scored and decoded boxes of each sample; one query an object, so that nothing is left to suppress."""
        return self.head.results(predictions, self.config.selection)
