"""Bird's-eye-view maps: flattening sparse volumes, and the 2D convolutional backbone on top."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perception.dense import Layers
from perception.errors import PerceptionError
from perception.sparse import SparseTensor


class FlattenHeight(nn.Module):
    """Sparse (z, y, x) features to a dense map (B, C * Z, Y, X); channel index is c * Z + z.

    The map lies channels-last in memory, the layout in which 2D convolutions are fastest on CPUs and tensor cores.
    """

    def forward(self, volume: SparseTensor) -> Tensor:
        batch, z, y, x = volume.coordinates.long().unbind(1)
        depth, height, width = volume.sites.spatial_shape
        grid = volume.features.new_zeros((volume.sites.batch_size, height, width, volume.channels, depth))
        grid = grid.index_put((batch[:, None], y[:, None], x[:, None], _all(volume), z[:, None]), volume.features)
        return grid.flatten(3, 4).permute(0, 3, 1, 2)


class BEVBackbone(nn.Module):
    """Convolution blocks at falling resolution, each brought back up and joined (Zhou & Tuzel 2018, Lang et al. 2019).

    Level i: a 3x3 convolution with ``strides[i]`` to ``filters[i]``, then ``layers[i]`` more at stride 1; a transposed
    convolution by ``up_strides[i]`` to ``up_filters[i]``, or, where that is below 1, a convolution that shrinks the map
    by its inverse. ``conv_for_no_stride`` makes the one by 1 an ordinary convolution as well, as TransFusion-L has it:
    the same function, its weight laid out the other way. Output (B, sum(up_filters), H, W).
    """

    def __init__(
        self,
        inputs: int,
        layers: Sequence[int],
        strides: Sequence[int],
        filters: Sequence[int],
        up_strides: Sequence[float],
        up_filters: Sequence[int],
        conv_for_no_stride: bool = False,
    ) -> None:
        super().__init__()
        self.channels = sum(up_filters)
        self.blocks, self.ups = nn.ModuleList(), nn.ModuleList()
        for depth, stride, width, up_stride, up_width in zip(layers, strides, filters, up_strides, up_filters):
            block = _conv_norm_relu(nn.Conv2d(inputs, width, 3, stride, 1, bias=False))
            for _ in range(depth):
                block += _conv_norm_relu(nn.Conv2d(width, width, 3, 1, 1, bias=False))
            self.blocks.append(Layers(*block))
            up = resample(width, up_width, up_stride, conv_for_no_stride)
            self.ups.append(Layers(*_conv_norm_relu(up)))
            inputs = width

    def forward(self, x: Tensor) -> Tensor:
        joined = []
        for block, up in zip(self.blocks, self.ups):
            x = block(x)
            joined.append(up(x))
        return torch.cat(joined, 1)


def _all(volume: SparseTensor) -> Tensor:
    return torch.arange(volume.channels, device=volume.features.device)[None]


def resample(inputs: int, outputs: int, factor: float, conv: bool = False) -> nn.Conv2d | nn.ConvTranspose2d:
    """A layer without bias that makes a map ``factor`` times as large; by 1 it is transposed unless ``conv``."""
    step = round(factor if factor >= 1 else 1 / factor)
    if abs((factor if factor >= 1 else 1 / factor) - step) > 1e-6:
        raise PerceptionError(f"an up stride of {factor}", "a whole number, or one over a whole number")
    if factor > 1 or (factor == 1 and not conv):
        return nn.ConvTranspose2d(inputs, outputs, step, step, bias=False)
    return nn.Conv2d(inputs, outputs, step, step, bias=False)


def _conv_norm_relu(conv: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    return [conv, nn.BatchNorm2d(conv.out_channels, eps=1e-3, momentum=0.01), nn.ReLU()]
