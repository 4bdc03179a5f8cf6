"""The image branch of Focals Conv-F: the first stage of a ResNet-50, read at the pixels of voxels.

Chen et al. CVPR 2022, section 3.3. The layers are those of torchvision's ResNet-50 (He et al. 2016), whose stem and
first stage DeepLabV3 leaves unchanged, under torchvision's names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from perception.backbones.cells import lowest_corners
from perception.camera import CameraView
from perception.dense import Layers, conv_norm
from perception.sparse import Sites, VoxelGrid
from perception.sparse.scatter import gather_rows


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with normalisation; the input or its projection is added before the last ReLU."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if inputs != outputs:
            self.downsample = Layers(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = conv_norm(conv_norm(x, self.conv1, self.bn1), self.conv2, self.bn2)
        return conv_norm(y, self.conv3, self.bn3, plus=self.downsample(x))


class ImageEncoder(nn.Module):
    """Images (B, 3, H, W) in [0, 1] to 256 channels at a quarter of the size: ``conv1`` to ``layer1`` of ResNet-50."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Statistics of ImageNet, in which the published weights were trained.
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Bottleneck(64, 64, 256), Bottleneck(256, 64, 256), Bottleneck(256, 64, 256))

    def forward(self, images: Tensor) -> Tensor:
        x = (images - self.mean) / self.deviation
        return self.layer1(self.pool(conv_norm(x, self.conv1, self.bn1)))


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """``maps`` (C, h, w) of each sample's view, None for a sample without one; ``grid``: where cells lie."""

    maps: Sequence[Tensor | None]
    views: Sequence[CameraView | None]
    grid: VoxelGrid
    channels: int

    def at(self, sites: Sites) -> Tensor:
        """(N, C): the map at the pixel of each cell's lowest corner, zeros for cells that are not seen."""
        corners = lowest_corners(sites, self.grid)
        values = corners.new_zeros((len(sites), self.channels))
        for sample, (features, view) in enumerate(zip(self.maps, self.views)):
            if features is None or view is None:
                continue
            rows = (sites.coordinates[:, 0] == sample).nonzero()[:, 0]
            pixels, seen = view.pixels(corners[rows])
            found = interpolate_at(features, pixels[seen], (view.image.shape[1], view.image.shape[2]))
            values = values.index_copy(0, rows[seen], found.to(values.dtype))
        return values


class ImageBranch(nn.Module):
    """Views to the features that focal convolutions read: ``encoder``, then a 1x1 convolution to few ``channels``."""

    def __init__(self, grid: VoxelGrid, channels: int = 16) -> None:
        super().__init__()
        self.grid, self.channels = grid, channels
        self.encoder = ImageEncoder()
        self.reduce = Layers(nn.Conv2d(256, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())

    def forward(self, views: Sequence[CameraView | None]) -> ImageFeatures:
        """Images of one size are one batch; published code pads all to the largest, which blurs their borders."""
        device = self.encoder.conv1.weight.device
        maps: list[Tensor | None] = [None] * len(views)
        for size in sorted({view.image.shape for view in views if view is not None}):
            chosen = [(i, view) for i, view in enumerate(views) if view is not None and view.image.shape == size]
            batch = torch.stack([view.image for _, view in chosen]).to(device)
            for (i, _), features in zip(chosen, self.reduce(self.encoder(batch))):
                maps[i] = features
        return ImageFeatures(maps, views, self.grid, self.channels)


def interpolate_at(features: Tensor, pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Features (C, h, w) at ``pixels`` (N, 2), column and row, of an image of ``size`` (H, W): (N, C).

    The values that bilinear interpolation of the whole map to that size would have there (align_corners off).
    """
    height, width = features.shape[1:]
    flat = features.flatten(1).T
    (left, right, across), (upper, lower, down) = (
        _between(pixels[:, axis], small, large) for axis, small, large in ((0, width, size[1]), (1, height, size[0]))
    )
    above = gather_rows(flat, upper * width + left) * (1 - across) + gather_rows(flat, upper * width + right) * across
    below = gather_rows(flat, lower * width + left) * (1 - across) + gather_rows(flat, lower * width + right) * across
    return above * (1 - down) + below * down


def _between(place: Tensor, small: int, large: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two cells of ``small`` around each of ``large`` places, and the weight (N, 1) of the second."""
    scale = torch.tensor(small / large, dtype=torch.float32).item()
    middle = ((place.double() + 0.5) * scale - 0.5).float().clamp(min=0)
    first = middle.long().clamp(max=small - 1)
    return first, (first + 1).clamp(max=small - 1), (middle - first)[:, None]
