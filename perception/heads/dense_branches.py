"""The small networks of a dense centre head, in a few cells of a map at the cost of those only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.dense import Layers


def branch(inputs: int, width: int, bias: bool, eps: float, momentum: float) -> nn.Sequential:
    """A 3x3 convolution with normalisation and ReLU, then a 3x3 convolution to ``width``."""
    return Layers(*conv_norm_relu(inputs, inputs, bias, eps, momentum), nn.Conv2d(inputs, width, 3, padding=1))


def conv_norm_relu(inputs: int, outputs: int, bias: bool, eps: float, momentum: float) -> list[nn.Module]:
    norm = nn.BatchNorm2d(outputs, eps=eps, momentum=momentum)
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias), norm, nn.ReLU()]


def answers_at(branches: Sequence[nn.Sequential], x: Tensor, sample: Tensor, cell: Tensor) -> list[Tensor]:
    """What each branch answers in use on maps ``x`` (B, C, H, W), in flat cells (M,) of the samples (M,): (M, width).

    Two layers of 3x3 see the 5x5 cells around. Beyond the map those are zero, before the second layer as well.
    """
    height, width = x.shape[2:]
    around = torch.arange(-2, 3, device=x.device)
    rows = (torch.div(cell, width, rounding_mode="floor")[:, None] + around)[:, :, None]
    columns = (cell % width)[:, None, None] + around[:, None].T
    inside = ((rows >= 0) & (rows < height)) & ((columns >= 0) & (columns < width))
    flat = (sample[:, None, None] * height + rows.clamp(0, height - 1)) * width + columns.clamp(0, width - 1)
    patches = x.permute(0, 2, 3, 1).flatten(0, 2)[flat] * inside[..., None]
    patches, near = patches.permute(0, 3, 1, 2), inside[:, None, 1:4, 1:4]
    found = []
    for network in branches:
        first, norm, relu, second = network
        assert isinstance(first, nn.Conv2d)
        assert isinstance(second, nn.Conv2d)
        hidden = relu(norm(F.conv2d(patches, first.weight, first.bias))) * near
        found.append(F.conv2d(hidden, second.weight, second.bias)[:, :, 0, 0])
    return found
