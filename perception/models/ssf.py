"""SSF: sparse scene flow for long ranges (Khoche et al., ICRA 2025)."""

from __future__ import annotations

import torch
from torch import Tensor

from perception.backbones.part_unet import SSF_CHANNELS, PartUNet
from perception.backbones.union_pillars import UnionEncoder, UnionVoxels
from perception.config import config
from perception.heads.flow_heads import OffsetLookup, VoxelFlowHead
from perception.models.flow_model import FlowLoss, FlowModel
from perception.sparse import Sites, SparseTensor


@config
class SSFConfig:
    """Defaults are those of Argoverse 2 within 51.2 m.

    ``offset_lookup``: released weights need ``official_voxel_row``, an error of the published code that they were
    trained with (see ``official_offsets``); ``point`` is what the paper describes.
    """

    point_range: tuple[float, float, float, float, float, float] = (-51.2, -51.2, -3.0, 51.2, 51.2, 3.0)
    voxel_size: tuple[float, float, float] = (0.2, 0.2, 6.0)
    encoder_channels: int = 32
    stem: int = 64
    channels: tuple[tuple[int, ...], ...] = SSF_CHANNELS
    offset_channels: int = 64
    offset_lookup: OffsetLookup = "point"
    moving_distance: float = 0.05
    loss: FlowLoss = "deflow"


LONG_RANGE = SSFConfig(point_range=(-204.8, -204.8, -3.0, 204.8, 204.8, 3.0))
# Thirteen times fewer weights, for embedded GPUs and CPUs.
SMALL = SSFConfig(
    stem=32,
    channels=((32,), (32, 32), (48, 48), (48, 48, 48), (64, 64, 64), (64, 64, 64)),
    offset_channels=32,
)


class SSF(FlowModel):
    """Both scans on the union of their voxels, a sparse U-Net, and a head on voxel features and point offsets."""

    stages = ("encoder", "backbone", "head")

    def __init__(self, config: SSFConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SSFConfig()
        inputs = 2 * config.encoder_channels
        self.encoder = UnionEncoder(self.grid, config.encoder_channels)
        self.backbone = PartUNet(inputs, config.stem, config.channels)
        self.head = VoxelFlowHead(inputs + config.channels[0][-1], config.offset_channels, config.offset_lookup)

    def residual(self, voxels: UnionVoxels) -> Tensor:
        features = self.encoder(voxels)
        sites = Sites.of(voxels.coordinates, self.grid.shape, voxels.batch_size)
        context = self.backbone(SparseTensor(features, sites)).features
        return self.head(torch.cat([features, context], 1), voxels.first.voxel, voxels.first.offset)
