"""PointPillars (Lang et al., CVPR 2019), as OpenPCDet publishes it, and a small variant meant for CPUs."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from perception.backbones.bev import BEVBackbone
from perception.backbones.voxel_encoders import DynamicPillarEncoder, PillarEncoder
from perception.config import config
from perception.heads.anchor_head import DIRECTION_OFFSET, AnchorHead, AnchorLossWeights
from perception.heads.anchors import AnchorClass
from perception.heads.selection import Selection
from perception.models.detector import KITTI_CLASSES, AnchorDetector
from perception.points import PointBatch
from perception.sparse import DynamicVoxels, HardVoxels, SparseTensor, dynamic_voxelise, hard_voxelise


@config
class PointPillarsConfig:
    """Defaults are those of KITTI. The ``dynamic`` encoder has no caps and does not see where a pillar lies.

    ``direction_offset``: headings are told from their opposites by the side of this angle they lie on, radians.
    ``centred_anchors``: anchors in the middle of their cells, where OpenPCDet spreads them over the whole range.
    """

    classes: tuple[AnchorClass, ...] = KITTI_CLASSES
    point_fields: tuple[str, ...] = ("intensity",)
    point_range: tuple[float, float, float, float, float, float] = (0.0, -39.68, -3.0, 69.12, 39.68, 1.0)
    ground_height: float = -1.73
    voxel_size: tuple[float, float, float] = (0.16, 0.16, 4.0)
    encoder: Literal["hard", "dynamic"] = "hard"
    encoder_channels: int = 64
    max_points: int = 32
    max_voxels: tuple[int, int] = (16_000, 40_000)
    layers: tuple[int, ...] = (3, 5, 5)
    strides: tuple[int, ...] = (2, 2, 2)
    filters: tuple[int, ...] = (64, 128, 256)
    up_strides: tuple[int, ...] = (1, 2, 4)
    up_filters: tuple[int, ...] = (128, 128, 128)
    direction_offset: float = DIRECTION_OFFSET
    centred_anchors: bool = False
    selection: Selection = Selection()
    loss: AnchorLossWeights = AnchorLossWeights()


SMALL = PointPillarsConfig(
    point_fields=(),  # intensities differ from sensor to sensor; geometry carries over
    point_range=(0.0, -40.0, -3.0, 70.4, 40.0, 1.0),
    voxel_size=(0.2, 0.2, 4.0),
    encoder="dynamic",
    encoder_channels=32,
    layers=(2, 3, 3),
    filters=(32, 64, 128),
    up_filters=(64, 64, 64),
)


class PointPillars(AnchorDetector):
    """Features of each pillar, scattered to a dense map, 2D backbone, anchors."""

    stages = ("encoder", "scatter", "bev", "head")

    def __init__(self, config: PointPillarsConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PointPillarsConfig()
        make_encoder = {"hard": PillarEncoder, "dynamic": DynamicPillarEncoder}[config.encoder]
        self.encoder = make_encoder(3 + len(config.point_fields), config.encoder_channels, self.grid)
        self.scatter = Scatter()
        self.bev = BEVBackbone(
            config.encoder_channels, config.layers, config.strides, config.filters, config.up_strides, config.up_filters
        )
        self.head = AnchorHead(
            self.bev.channels, config.classes, config.point_range, config.direction_offset, config.centred_anchors
        )

    def voxelise(self, points: PointBatch) -> HardVoxels | DynamicVoxels:
        if self.config.encoder == "dynamic":
            return dynamic_voxelise(points, self.grid)
        return hard_voxelise(
            points, self.grid, self.config.max_points, self.config.max_voxels[0 if self.training else 1]
        )

    def features(self, voxels: HardVoxels | DynamicVoxels) -> Tensor:
        planar = voxels.coordinates[:, [0, 2, 3]]
        pillars = SparseTensor.of(self.encoder(voxels), planar, self.grid.shape[1:], voxels.batch_size)
        return self.bev(self.scatter(pillars))


class Scatter(nn.Module):
    """Sparse (y, x) features to a dense map (B, C, Y, X)."""

    def forward(self, pillars: SparseTensor) -> Tensor:
        return pillars.dense()
