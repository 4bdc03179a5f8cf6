"""DeFlow (Zhang et al., ICRA 2024): a dense pillar U-Net whose point features a recurrent unit refines."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from perception.backbones.dense_flow_unet import DenseFlowUNet
from perception.backbones.union_pillars import MeanPillarEncoder, UnionVoxels
from perception.config import config
from perception.errors import PerceptionError
from perception.heads.flow_heads import GRUFlowHead
from perception.models.flow_model import FlowLoss, FlowModel
from perception.sparse import Sites, SparseTensor


@config
class DeFlowConfig:
    """Defaults are those of Argoverse 2 within 51.2 m; SeFlow trains the same network with 2 ``iterations``."""

    point_range: tuple[float, float, float, float, float, float] = (-51.2, -51.2, -3.0, 51.2, 51.2, 3.0)
    voxel_size: tuple[float, float, float] = (0.2, 0.2, 6.0)
    encoder_channels: int = 32
    offset_channels: int = 64
    iterations: int = 4
    moving_distance: float = 0.05
    loss: FlowLoss = "deflow"


class DensePillarFlow(FlowModel):
    """Pillars of both scans, a dense U-Net on their maps, and a head on the features at each point's pillar."""

    stages = ("encoder", "backbone", "head")
    encoder: MeanPillarEncoder
    backbone: DenseFlowUNet
    head: nn.Module

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        if self.grid.shape[0] != 1:
            raise PerceptionError(
                f"{self.grid.shape[0]} layers of voxels of {config.voxel_size}",
                "pillars: one layer as high as the range",
                "choose a voxel height of the range's height",
            )

    def residual(self, voxels: UnionVoxels) -> Tensor:
        number, shape = len(voxels.coordinates), self.grid.shape[1:]
        planar = voxels.coordinates[:, [0, 2, 3]]
        sites = Sites.of(planar, shape, voxels.batch_size)
        scans = [self.encoder(scan, number) for scan in (voxels.first, voxels.second)]
        maps = [SparseTensor(features, sites).dense() for features in scans]
        batch, y, x = planar.long().unbind(1)
        context = self.backbone(*maps)[batch, :, y, x]
        return self.head(torch.cat([*scans, context], 1), voxels.first.voxel, voxels.first.offset)


class DeFlow(DensePillarFlow):
    """The dense pillar U-Net with gated recurrent refinement."""

    def __init__(self, config: DeFlowConfig | None = None) -> None:
        config = config or DeFlowConfig()
        super().__init__(config)
        self.encoder = MeanPillarEncoder(config.encoder_channels)
        self.backbone = DenseFlowUNet(config.encoder_channels)
        self.head = GRUFlowHead(4 * config.encoder_channels, config.offset_channels, config.iterations)
