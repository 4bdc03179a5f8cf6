"""Backbones that mmdet3d does not have, as middle encoders for its configurations.

Each takes ``voxel_features`` (N, C), ``coors`` (N, 4) batch z y x and ``batch_size``, and answers with a dense map
(B, C, y, x), which mmdet3d's 2D backbones and heads take as they are. ``sparse_shape`` is z y x, in cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from perception.backbones.dsvt import DSVTBackbone, PositionOf
from perception.backbones.dsvt_partition import DSVTStage
from perception.backbones.focal import FocalEncoder, FocalOptions, FocalResNet
from perception.backbones.sparse_voxelnext import SparseVoxelNeXt
from perception.errors import PerceptionError
from perception.sparse import SparseTensor


class MiddleEncoder(nn.Module):
    """What the encoders share: cells in, a dense map out, in single precision as mmdet3d's own."""

    def __init__(self, backbone: nn.Module, sparse_shape: Sequence[int]) -> None:
        super().__init__()
        if len(sparse_shape) != 3:
            raise PerceptionError(f"sparse_shape {tuple(sparse_shape)}", "cells along z, y and x")
        self.backbone, self.sparse_shape = backbone, tuple(sparse_shape)

    def forward(self, voxel_features: Tensor, coors: Tensor, batch_size: int) -> Tensor:
        with torch.autocast(voxel_features.device.type, enabled=False):
            x = SparseTensor.of(voxel_features.float(), coors, self.sparse_shape, int(batch_size))
            dense = self.backbone(x).dense()
        return dense.flatten(1, 2) if dense.ndim == 5 else dense


class FocalsConvEncoder(MiddleEncoder):
    """SECOND's encoder, or with ``residual`` CenterPoint's, with focal convolutions (Chen et al., CVPR 2022).

    ``options``: the fields of ``FocalOptions``. mmdet3d's detectors have no place for the loss that supervises
    importances, so that they learn from the detection losses: features are multiplied by them (``mask``).
    Map: (B, output_channels * 2, y / 8, x / 8) for 41 cells in z.
    """

    def __init__(
        self,
        in_channels: int,
        sparse_shape: Sequence[int],
        output_channels: int = 128,
        residual: bool = False,
        **options: Any,
    ) -> None:
        values: dict[str, Any] = {"supervision": "none", "mask": True, **options}
        if "use_stages" in values:
            values["use_stages"] = tuple(values["use_stages"])
        kind = FocalResNet if residual else FocalEncoder
        super().__init__(kind(in_channels, FocalOptions(**values), output_channels), sparse_shape)


class VoxelNeXtEncoder(MiddleEncoder):
    """VoxelNeXt's backbone (Chen et al., CVPR 2023): six stages merged on the ground.

    Its sparse map is filled with zeros for mmdet3d's dense heads: (B, output_channels, y / 8, x / 8).
    """

    def __init__(
        self,
        in_channels: int,
        sparse_shape: Sequence[int],
        output_channels: int = 128,
        kernels: Sequence[int] = (3, 3, 3, 3, 3),
        channels: Sequence[int] = (16, 32, 64, 128, 128, 128),
    ) -> None:
        super().__init__(SparseVoxelNeXt(in_channels, output_channels, channels, kernels), sparse_shape)


class DSVTEncoder(MiddleEncoder):
    """Attention in sets of voxels (Wang et al., CVPR 2023): (B, in_channels * z, y, x), z what the poolings leave.

    ``in_channels`` is the width of the voxel encoder in front and of all layers; ``stages`` are mappings of the fields
    of ``DSVTStage`` (blocks, set_size, window, shifted_window, shift, pool), sizes z y x; one stage of pillars if left
    out.
    """

    def __init__(
        self,
        in_channels: int,
        sparse_shape: Sequence[int],
        stages: Sequence[Mapping[str, Any]] = ({},),
        heads: int = 8,
        feedforward: int | None = None,
        position_of: PositionOf = "partition",
    ) -> None:
        made = [DSVTStage(**{key: _fixed(value) for key, value in stage.items()}) for stage in stages]
        super().__init__(
            DSVTBackbone(in_channels, made, heads, feedforward or 2 * in_channels, position_of), sparse_shape
        )


def _fixed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
