"""DSVT (Wang et al., CVPR 2023): sets of voxels in attention, then a bird's-eye-view map with either of two heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from perception.backbones.bev import FlattenHeight
from perception.backbones.bev_residual import BEVResBackbone
from perception.backbones.dsvt import DSVTBackbone, PositionOf
from perception.backbones.dsvt_partition import DSVTStage
from perception.backbones.dynamic_encoder import DynamicVoxelEncoder
from perception.config import config
from perception.heads.centre_grid import CentreGrid
from perception.heads.centre_head import CentreHead, CentreLossWeights, CentrePredictions
from perception.heads.centre_selection import CentreSelection, Suppression
from perception.heads.transfusion_head import QueryPredictions, TransFusionHead, TransFusionHeadConfig
from perception.heads.transfusion_loss import TransFusionLossWeights, transfusion_loss
from perception.heads.transfusion_selection import QuerySelection
from perception.models.detector import Detector
from perception.models.transfusion import NUSCENES_CLASSES
from perception.points import PointBatch
from perception.results import Detections
from perception.sparse import DynamicVoxels, SparseTensor, dynamic_voxelise

Range = tuple[float, float, float, float, float, float]
WAYMO_SELECTION = CentreSelection(
    score_threshold=0.1,
    peaks=500,
    centre_range=(-80.0, -80.0, -10.0, 80.0, 80.0, 10.0),
    suppression=tuple(Suppression(overlap, candidates=4096, maximum=500) for overlap in (0.75, 0.6, 0.55)),
    rectifier=(0.68, 0.71, 0.65),
)


@config
class DSVTConfig:
    """Defaults are those of Waymo with pillars; intensities and elongations there have been through tanh.

    ``position_of``: as ``DSVTBackbone`` describes. ``pruned``: the share of sets that every layer leaves out in use,
    those with the weakest activations; 0 for the published model.
    """

    classes: tuple[str, ...] = ("Vehicle", "Pedestrian", "Cyclist")
    point_fields: tuple[str, ...] = ("intensity", "elongation")
    point_range: Range = (-74.88, -74.88, -2.0, 74.88, 74.88, 4.0)
    ground_height: float = 0.0
    voxel_size: tuple[float, float, float] = (0.32, 0.32, 6.0)
    channels: int = 192
    attention_heads: int = 8
    feedforward: int = 384
    stages: tuple[DSVTStage, ...] = (DSVTStage(),)
    position_of: PositionOf = "layer"
    pruned: float = 0.0
    layers: tuple[int, ...] = (1, 2, 2)
    strides: tuple[int, ...] = (1, 2, 2)
    filters: tuple[int, ...] = (128, 128, 256)
    up_strides: tuple[float, ...] = (1, 2, 4)
    up_filters: tuple[int, ...] = (128, 128, 128)
    selection: CentreSelection = WAYMO_SELECTION
    loss: CentreLossWeights = CentreLossWeights(distance_iou=2.0)


VOXELS = DSVTConfig(
    voxel_size=(0.32, 0.32, 0.1875),
    stages=(
        DSVTStage(1, 48, (32, 12, 12), (32, 24, 24), (0, 6, 6), (4, 1, 1)),
        DSVTStage(1, 48, (8, 12, 12), (8, 24, 24), (0, 6, 6), (4, 1, 1)),
        DSVTStage(1, 48, (2, 12, 12), (2, 24, 24), (0, 6, 6), (2, 1, 1)),
        DSVTStage(1, 48, (1, 12, 12), (1, 24, 24), (0, 6, 6)),
    ),
)


@config
class DSVTNuScenesConfig:
    """Pillars with TransFusion's head, whose queries here see 20 cells around them and not each other."""

    classes: tuple[str, ...] = NUSCENES_CLASSES
    point_fields: tuple[str, ...] = ("intensity", "time")
    point_range: Range = (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)
    ground_height: float = -1.84
    voxel_size: tuple[float, float, float] = (0.3, 0.3, 8.0)
    channels: int = 128
    attention_heads: int = 8
    feedforward: int = 256
    stages: tuple[DSVTStage, ...] = (DSVTStage(4, 90, (1, 30, 30), (1, 30, 30), (0, 15, 15)),)
    position_of: PositionOf = "layer"
    pruned: float = 0.0
    layers: tuple[int, ...] = (1, 2, 2)
    strides: tuple[int, ...] = (1, 2, 2)
    filters: tuple[int, ...] = (128, 128, 256)
    up_strides: tuple[float, ...] = (0.5, 1, 2)
    up_filters: tuple[int, ...] = (128, 128, 128)
    head: TransFusionHeadConfig = TransFusionHeadConfig(dropout=0.0, bias=True, overlap=True, radius=20, height="top")
    selection: QuerySelection = QuerySelection(rectifier=0.5, suppressed=("pedestrian", "traffic_cone"))
    loss: TransFusionLossWeights = TransFusionLossWeights()


class SetDetector(Detector):
    """Points to voxels of any number, attention in sets, a dense map and a 2D backbone. Subclasses add ``head``."""

    stages = ("encoder", "backbone", "scatter", "bev", "head")

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.encoder = DynamicVoxelEncoder(3 + len(config.point_fields), (config.channels, config.channels), self.grid)
        self.backbone = DSVTBackbone(
            config.channels,
            config.stages,
            config.attention_heads,
            config.feedforward,
            config.position_of,
            config.pruned,
        )
        self.scatter = FlattenHeight()
        depth = self.grid.shape[0]
        for stage in config.stages:
            depth = -(-depth // stage.pool[0]) if stage.pool else depth
        self.bev = BEVResBackbone(
            config.channels * depth,
            config.layers,
            config.strides,
            config.filters,
            config.up_strides,
            config.up_filters,
        )
        # Pillars over cells of the head's map: what the first level comes to after its strides.
        self.map_grid = CentreGrid.of(self.grid, round(config.strides[0] / config.up_strides[0]))

    def voxelise(self, points: PointBatch) -> DynamicVoxels:
        return dynamic_voxelise(points, self.grid)

    def features(self, voxels: DynamicVoxels) -> Tensor:
        """Bird's-eye-view features (B, C, H, W)."""
        filled = SparseTensor.of(self.encoder(voxels), voxels.coordinates, self.grid.shape, voxels.batch_size)
        return self.bev(self.scatter(self.backbone(filled)))


class DSVT(SetDetector):
    """The Waymo models: one centre head for all classes, with a branch that predicts overlaps."""

    def __init__(self, config: DSVTConfig | None = None) -> None:
        super().__init__(config or DSVTConfig())
        self.head = CentreHead(
            self.bev.channels, (self.classes,), self.map_grid, overlap=True, bias=False, eps=1e-3, momentum=0.01
        )

    def forward(self, voxels: DynamicVoxels) -> CentrePredictions:
        return self.head(self.features(voxels))

    def loss(
        self, predictions: CentrePredictions, boxes: Sequence[Tensor], labels: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        return self.head.loss(predictions, boxes, labels, self.config.loss)

    def results(self, predictions: CentrePredictions) -> list[Detections]:
        return self.head.results(predictions, self.config.selection)


class DSVTNuScenes(SetDetector):
    """The nuScenes model: pillars and TransFusion's head, with a branch that predicts overlaps."""

    velocity = True

    def __init__(self, config: DSVTNuScenesConfig | None = None) -> None:
        super().__init__(config or DSVTNuScenesConfig())
        self.head = TransFusionHead(self.bev.channels, self.classes, self.map_grid, self.config.head)

    def forward(self, voxels: DynamicVoxels) -> QueryPredictions:
        return self.head(self.features(voxels))

    def loss(
        self, predictions: QueryPredictions, boxes: Sequence[Tensor], labels: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        return transfusion_loss(self.head, predictions, boxes, labels, self.config.loss)

    def results(self, predictions: QueryPredictions) -> list[Detections]:
        return self.head.results(predictions, self.config.selection)
