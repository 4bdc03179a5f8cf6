"""FastFlow3D (Jund et al., RA-L 2021) in ZeroFlow's form: a dense pillar U-Net and a linear head."""

from __future__ import annotations

from perception.backbones.dense_flow_unet import DenseFlowUNet
from perception.backbones.union_pillars import MeanPillarEncoder
from perception.config import config
from perception.heads.flow_heads import LinearFlowHead
from perception.models.deflow import DensePillarFlow
from perception.models.flow_model import FlowLoss


@config
class FastFlow3DConfig:
    """Defaults are those of Argoverse 2 within 51.2 m."""

    point_range: tuple[float, float, float, float, float, float] = (-51.2, -51.2, -3.0, 51.2, 51.2, 3.0)
    voxel_size: tuple[float, float, float] = (0.2, 0.2, 6.0)
    encoder_channels: int = 32
    offset_channels: int = 128
    moving_distance: float = 0.05
    loss: FlowLoss = "fastflow3d"


class FastFlow3D(DensePillarFlow):
    """The dense pillar U-Net with one hidden layer from pillar to point."""

    def __init__(self, config: FastFlow3DConfig | None = None) -> None:
        config = config or FastFlow3DConfig()
        super().__init__(config)
        self.encoder = MeanPillarEncoder(config.encoder_channels)
        self.backbone = DenseFlowUNet(config.encoder_channels)
        self.head = LinearFlowHead(4 * config.encoder_channels, config.offset_channels)
