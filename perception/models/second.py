"""SECOND: sparsely embedded convolutional detection (Yan, Mao & Li, Sensors 2018), as OpenPCDet publishes it."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from perception.backbones.bev import BEVBackbone, FlattenHeight
from perception.backbones.sparse_encoder import FourStages, SparseEncoder, encoded_depth
from perception.backbones.voxel_encoders import MeanEncoder
from perception.config import config
from perception.heads.anchor_head import DIRECTION_OFFSET, AnchorHead, AnchorLossWeights
from perception.heads.anchors import AnchorClass
from perception.heads.selection import Selection
from perception.models.detector import KITTI_CLASSES, AnchorDetector
from perception.points import PointBatch
from perception.sparse import HardVoxels, SparseTensor, hard_voxelise


@config
class SECONDConfig:
    """Defaults are those of KITTI. ``max_voxels`` caps the voxels of a cloud in training and in use.

    ``direction_offset``: headings are told from their opposites by the side of this angle they lie on, radians.
    ``centred_anchors``: anchors in the middle of their cells, where OpenPCDet spreads them over the whole range.
    """

    classes: tuple[AnchorClass, ...] = KITTI_CLASSES
    point_fields: tuple[str, ...] = ("intensity",)
    point_range: tuple[float, float, float, float, float, float] = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
    ground_height: float = -1.73
    voxel_size: tuple[float, float, float] = (0.05, 0.05, 0.1)
    max_points: int = 5
    max_voxels: tuple[int, int] = (16_000, 40_000)
    layers: tuple[int, ...] = (5, 5)
    strides: tuple[int, ...] = (1, 2)
    filters: tuple[int, ...] = (128, 256)
    up_strides: tuple[int, ...] = (1, 2)
    up_filters: tuple[int, ...] = (256, 256)
    direction_offset: float = DIRECTION_OFFSET
    centred_anchors: bool = False
    selection: Selection = Selection()
    loss: AnchorLossWeights = AnchorLossWeights()


class SECOND(AnchorDetector):
    """Mean of each voxel, sparse encoder to 1/8, dense map, anchors."""

    stages: ClassVar[tuple[str, ...]] = ("encoder", "backbone", "flatten", "bev", "head")

    def __init__(self, config: SECONDConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SECONDConfig()
        self.encoder = MeanEncoder()
        self.backbone = self.make_backbone(3 + len(config.point_fields))
        self.flatten = FlattenHeight()
        # The grid and its spare cell in z: 2 cells of 128 channels are left of KITTI's 40 and one.
        self.flattened = flattened = 128 * encoded_depth(self.grid.shape[0] + 1)
        self.bev = BEVBackbone(
            flattened, config.layers, config.strides, config.filters, config.up_strides, config.up_filters
        )
        self.head = AnchorHead(
            self.bev.channels, config.classes, config.point_range, config.direction_offset, config.centred_anchors
        )

    def voxelise(self, points: PointBatch) -> HardVoxels:
        return hard_voxelise(
            points, self.grid, self.config.max_points, self.config.max_voxels[0 if self.training else 1]
        )

    def make_backbone(self, inputs: int) -> FourStages:
        """The sparse backbone for voxels of that many channels; a variant of the model may take another."""
        return SparseEncoder(inputs)

    def volume(self, voxels: HardVoxels) -> SparseTensor:
        """Encoded voxels on the grid of the backbone."""
        depth, height, width = self.grid.shape
        # One spare cell in z lets the strided layers divide the height as the published models do.
        return SparseTensor.of(self.encoder(voxels), voxels.coordinates, (depth + 1, height, width), voxels.batch_size)

    def features(self, voxels: HardVoxels) -> Tensor:
        return self.bev(self.flatten(self.backbone(self.volume(voxels))))
