"""Voxel R-CNN (Deng et al., AAAI 2021), as OpenPCDet publishes it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from perception.config import config
from perception.heads.anchors import AnchorClass
from perception.heads.roi.voxel_head import VoxelRoIHead
from perception.heads.roi.voxel_pool import PoolScale
from perception.models.detector import KITTI_CLASSES
from perception.models.two_stage import STAGE_CHANNELS, TwoStageConfig, TwoStageDetector
from perception.sparse import SparseTensor


@config
class VoxelRCNNConfig(TwoStageConfig):
    """Defaults are those of KITTI's three classes; ``pools`` are the scales that the second stage reads."""

    filters: tuple[int, ...] = (64, 128)
    up_filters: tuple[int, ...] = (128, 128)
    pools: tuple[PoolScale, ...] = (PoolScale(2, 0.4), PoolScale(3, 0.8), PoolScale(4, 1.6))


CAR: tuple[AnchorClass, ...] = KITTI_CLASSES[:1]


class VoxelRCNN(TwoStageDetector):
    """SECOND with a lighter map proposes; voxels of three scales around 6 x 6 x 6 points refine."""

    config: VoxelRCNNConfig

    def __init__(self, config: VoxelRCNNConfig | None = None) -> None:
        config = config or VoxelRCNNConfig()
        super().__init__(config)
        self.roi = VoxelRoIHead(STAGE_CHANNELS, config.pools, config.grid_size, self.grid, config.refine)

    def roi_features(
        self, voxels: Any, volume: SparseTensor, stages: list[SparseTensor], flat: Tensor
    ) -> list[SparseTensor]:
        return stages
