"""The residual bird's-eye-view backbone of DSVT (Wang et al. 2023, as OpenPCDet publishes it)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perception.backbones.bev import resample
from perception.dense import Layers, conv_norm


class ResidualBlock2D(nn.Module):
    """Two 3x3 convolutions with the input added before the last ReLU (He et al. 2016).

    With ``shortcut`` the input passes a 1x1 convolution and a norm, which the published model does even at stride 1.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, shortcut: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = _norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = _norm(outputs)
        self.shortcut = Layers(nn.Conv2d(inputs, outputs, 1, stride, bias=False), _norm(outputs)) if shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        same = x if self.shortcut is None else self.shortcut(x)
        return conv_norm(conv_norm(x, self.conv1, self.norm1), self.conv2, self.norm2, plus=same)


class BEVResBackbone(nn.Module):
    """Residual blocks at falling resolution, each level brought to one resolution and joined.

    Level i: a block with ``strides[i]`` to ``filters[i]``, then ``layers[i]`` more; a transposed convolution by
    ``up_strides[i]``, or a strided one where that is a fraction such as 0.5. Output (B, sum(up_filters), H, W).
    """

    def __init__(
        self,
        inputs: int,
        layers: Sequence[int],
        strides: Sequence[int],
        filters: Sequence[int],
        up_strides: Sequence[float],
        up_filters: Sequence[int],
    ) -> None:
        super().__init__()
        self.channels = sum(up_filters)
        self.blocks, self.ups = nn.ModuleList(), nn.ModuleList()
        for depth, stride, width, up_stride, up_width in zip(layers, strides, filters, up_strides, up_filters):
            further = [ResidualBlock2D(width, width) for _ in range(depth)]
            self.blocks.append(nn.Sequential(ResidualBlock2D(inputs, width, stride, shortcut=True), *further))
            self.ups.append(Layers(resample(width, up_width, up_stride), _norm(up_width), nn.ReLU()))
            inputs = width

    def forward(self, x: Tensor) -> Tensor:
        joined = []
        for block, up in zip(self.blocks, self.ups):
            x = block(x)
            joined.append(up(x))
        return torch.cat(joined, 1)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
