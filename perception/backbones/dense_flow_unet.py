"""The dense U-Net of FastFlow3D (Jund et al. 2021) in ZeroFlow's form, which DeFlow shares."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from perception.dense import pointwise


class ConvNormGELU(nn.Module):
    """A 3x3 convolution with bias, batch normalisation and GELU.

    As published a map of one single cell skips the normalisation.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return nn.functional.gelu(x if x.shape[2] == x.shape[3] == 1 else self.norm(x))


class UpsampleSkip(nn.Module):
    """A coarse map to ``outputs`` channels and twice the size, joined with the finer one; no activations between."""

    def __init__(self, coarse: int, fine: int, outputs: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(coarse, outputs, 1)
        self.skip = nn.Conv2d(fine, outputs, 1)
        self.first = nn.Conv2d(2 * outputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        reduced, skipped = (
            pointwise(x, conv.weight, conv.bias) for x, conv in ((coarse, self.reduce), (fine, self.skip))
        )
        raised = interpolate(reduced, size=fine.shape[2:], mode="bilinear", align_corners=False)
        return self.second(self.first(torch.cat([raised, skipped], 1)))


class DenseFlowUNet(nn.Module):
    """Maps (B, inputs, H, W) of two scans to one of (B, outputs, H, W).

    The encoder sees each scan by itself with the same weights; both scans' maps meet in the decoder.
    """

    def __init__(self, inputs: int = 32, channels: Sequence[int] = (64, 128, 256), layers: Sequence[int] = (4, 6, 6)):
        super().__init__()
        widths = (inputs, *channels)
        self.encoder = nn.ModuleList()
        for width, output, depth in zip(widths, channels, layers):
            rest = [ConvNormGELU(output, output) for _ in range(depth - 1)]
            self.encoder.append(nn.Sequential(ConvNormGELU(width, output, stride=2), *rest))
        self.decoder = nn.ModuleList()
        coarse = 2 * widths[-1]
        for fine in reversed(widths[:-1]):
            outputs = 2 * fine
            self.decoder.append(UpsampleSkip(coarse, 2 * fine, outputs))
            coarse = outputs
        self.out = nn.Conv2d(coarse, coarse, 3, padding=1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        # One pass for both scans in use; in training each has its own statistics, as published.
        if self.training:
            levels = [torch.cat(pair, 1) for pair in zip(self.encode(first), self.encode(second))]
        else:
            both = self.encode(torch.cat([first, second]))
            levels = [torch.cat(level.chunk(2), 1) for level in both]
        x = levels.pop()
        for up in self.decoder:
            x = up(x, levels.pop())
        return self.out(x)

    def encode(self, x: Tensor) -> list[Tensor]:
        """The map itself and the output of every level."""
        levels = [x]
        for level in self.encoder:
            levels.append(level(levels[-1]))
        return levels
