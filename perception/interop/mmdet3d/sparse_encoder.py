"""mmdet3d's SparseEncoder on our engine: arguments, parameter names and answers are its own.

It serves SECOND, CenterPoint (``block_type="basicblock"``), PV-RCNN's encoder and what else is built of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from perception.errors import PerceptionError
from perception.interop.mmdet3d.units import BasicBlock, Strided, Submanifold, unit
from perception.sparse import SparseTensor

NORM: Mapping[str, Any] = {"type": "BN1d", "eps": 1e-3, "momentum": 0.01}
CHANNELS = ((16,), (32, 32, 32), (64, 64, 64), (64, 64, 64))
PADDINGS = ((1,), (1, 1, 1), (1, 1, 1), ((0, 1, 1), 1, 1))
ORDER = ("conv", "norm", "act")
BlockType = Literal["conv_module", "basicblock"]


@dataclass(frozen=True, eq=False)
class StageFeatures:
    """A stage as layers of mmdet3d read it: ``features`` (N, C), ``indices`` (N, 4) int32 batch z y x."""

    features: Tensor
    indices: Tensor
    spatial_shape: tuple[int, ...]
    batch_size: int

    @classmethod
    def of(cls, x: SparseTensor) -> StageFeatures:
        return cls(x.features, x.coordinates, x.sites.spatial_shape, x.sites.batch_size)

    def dense(self) -> Tensor:
        """(batch, C, z, y, x)."""
        return SparseTensor.of(self.features, self.indices, self.spatial_shape, self.batch_size).dense()


class SparseEncoder(nn.Module):
    """Voxel features (N, in_channels) at cells (N, 4) batch z y x to a map (B, output_channels * z, y, x).

    ``return_middle_feats`` adds the list of the stages' features.
    """

    def __init__(
        self,
        in_channels: int,
        sparse_shape: Sequence[int],
        order: Sequence[str] = ORDER,
        norm_cfg: Mapping[str, Any] = NORM,
        base_channels: int = 16,
        output_channels: int = 128,
        encoder_channels: Sequence[Sequence[int]] = CHANNELS,
        encoder_paddings: Sequence[Sequence[Any]] = PADDINGS,
        block_type: BlockType = "conv_module",
        return_middle_feats: bool = False,
    ) -> None:
        super().__init__()
        if sorted(order) != sorted(ORDER):
            raise PerceptionError(f"order {tuple(order)}", "conv, norm and act in any order")
        if block_type not in ("conv_module", "basicblock"):
            raise PerceptionError(f"block_type {block_type!r}", "conv_module or basicblock")
        self.sparse_shape, self.order, self.norm_cfg = tuple(sparse_shape), tuple(order), norm_cfg
        self.in_channels, self.base_channels, self.output_channels = in_channels, base_channels, output_channels
        self.encoder_channels, self.encoder_paddings = encoder_channels, encoder_paddings
        self.stage_num, self.return_middle_feats = len(encoder_channels), return_middle_feats

        first = self.order if self.order[0] == "conv" else ("conv",)  # pre-activation has nothing to activate yet
        self.conv_input = unit(Submanifold(in_channels, base_channels, 3), norm_cfg, first)
        self.encoder_layers = nn.Sequential()
        width = base_channels
        for number, (widths, paddings) in enumerate(zip(encoder_channels, encoder_paddings)):
            make = self._plain_stage if block_type == "conv_module" else self._residual_stage
            self.encoder_layers.add_module(f"encoder_layer{number + 1}", make(number, width, widths, paddings))
            width = widths[-1]
        out = Strided(width, output_channels, (3, 1, 1), stride=(2, 1, 1))
        self.conv_out = unit(out, norm_cfg, ORDER)

    def forward(
        self, voxel_features: Tensor, coors: Tensor, batch_size: int
    ) -> Tensor | tuple[Tensor, list[StageFeatures]]:
        with torch.autocast(voxel_features.device.type, enabled=False):
            x = SparseTensor.of(voxel_features.float(), coors, self.sparse_shape, int(batch_size))
            x = self.conv_input(x)
            stages = []
            for layer in self.encoder_layers:
                x = layer(x)
                stages.append(x)
            flat = self.conv_out(x).dense().flatten(1, 2)
        return (flat, [StageFeatures.of(stage) for stage in stages]) if self.return_middle_feats else flat

    def _plain_stage(self, number: int, width: int, widths: Sequence[int], paddings: Sequence[Any]) -> nn.Sequential:
        """Each stage but the first begins with a strided convolution."""
        layers = []
        for place, (outputs, padding) in enumerate(zip(widths, paddings)):
            conv: nn.Module
            if number and not place:
                conv = Strided(width, outputs, 3, stride=2, padding=_axes(padding))
            else:
                conv = Submanifold(width, outputs, 3)
            layers.append(unit(conv, self.norm_cfg, ORDER))
            width = outputs
        return nn.Sequential(*layers)

    def _residual_stage(self, number: int, width: int, widths: Sequence[int], paddings: Sequence[Any]) -> nn.Sequential:
        """Residual blocks; the strided convolution ends each stage but the last."""
        layers: list[nn.Module] = []
        for place, (outputs, padding) in enumerate(zip(widths, paddings)):
            if place == len(widths) - 1 and number != self.stage_num - 1:
                conv = Strided(width, outputs, 3, stride=2, padding=_axes(padding))
                layers.append(unit(conv, self.norm_cfg, ORDER))
            else:
                layers.append(BasicBlock(outputs, self.norm_cfg))
            width = outputs
        return nn.Sequential(*layers)


def _axes(padding: int | Sequence[int]) -> int | tuple[int, ...]:
    return padding if isinstance(padding, int) else tuple(padding)
