"""The encoder of Focals Conv: the plain sparse encoder whose first stages let important cells grow.

Chen, Li, Zhang, Sun, Jia, "Focal sparse convolutional networks for 3D object detection", CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from perception.backbones.image import ImageBranch, ImageFeatures
from perception.backbones.sparse_encoder import FourStages, SparseEncoder, submanifold
from perception.backbones.sparse_resnet import SparseResNet
from perception.camera import CameraView
from perception.config import config
from perception.errors import PerceptionError
from perception.sparse import ConvNormReLU, Sites, SparseTensor, SubmanifoldConv, VoxelGrid
from perception.sparse.engines import convolve, convolve_fused
from perception.sparse.growth import Growth, Merge, by_share, by_threshold, grow, spread_table
from perception.sparse.growth_doubled import doubled_tables, second_rows, summed
from perception.sparse.scatter import scatter_sum

Supervision = Literal["inside", "around", "none"]


@config
class FocalOptions:
    """``kernel`` cells along each axis are reached by growth and convolution; ``enlarge`` channels predict importance.

    ``top``: the share ``threshold`` of a sample's cells is its foreground, else what is more important than that; a
    neighbour is proposed from the same threshold on. ``mask``: features are multiplied by their importance.
    ``average``: what several cells propose is multiplied by the mean of their importances; ``average_image`` says so
    for the convolution that sees images.

    ``supervision``: importances learn which cells lie inside labelled boxes, or ``around`` them, or nothing. Without
    it they learn from ``mask``, and which neighbours to propose only from ``average``.
    """

    use_stages: tuple[int, ...] = (1, 2, 3)
    kernel: int = 3
    enlarge: int | None = 64
    threshold: float = 0.5
    top: bool = True
    mask: bool = False
    average: bool = True
    average_image: bool = True
    merge: Merge = "coordinates"
    supervision: Supervision = "inside"

    def __post_init__(self) -> None:
        if self.kernel < 3 or self.kernel % 2 == 0:
            raise PerceptionError(f"a focal kernel of {self.kernel}", "3, 5 or another odd number of cells")
        if not 0 <= self.threshold <= 1:
            raise PerceptionError(f"threshold {self.threshold}", "a share from 0 to 1")
        if set(self.use_stages) - {1, 2, 3}:
            raise PerceptionError(f"focal convolutions at the stages {self.use_stages}", "some of 1, 2 and 3")


@dataclass(frozen=True, eq=False)
class Importance:
    """``logits`` (N,) of the importance of each of ``sites`` before growth: what the objectness loss supervises."""

    logits: Tensor
    sites: Sites


@dataclass(frozen=True, eq=False)
class FocusedTensor(SparseTensor):
    """A stage's output, and the importances that its focal convolutions predicted on the way."""

    importances: tuple[Importance, ...] = ()


@dataclass(frozen=True, eq=False)
class ViewedTensor(SparseTensor):
    """Voxels of a batch, and the camera view of each of its clouds, None where there is none."""

    views: Sequence[CameraView | None] = ()


class FocalConv(nn.Module):
    """Predict which cells matter, let these grow, and convolve on the enlarged sites (section 3.2).

    ``image`` channels of the image are concatenated for the prediction, and added to the output before its
    normalisation: then there must be as many as ``channels``.
    """

    def __init__(self, channels: int, options: FocalOptions, image: int = 0) -> None:
        super().__init__()
        self.options = options
        self.enlarge = submanifold(channels, options.enlarge) if options.enlarge else None
        self.importance = SubmanifoldConv((options.enlarge or channels) + image, options.kernel**3, 3)
        self.spread = ConvNormReLU(SubmanifoldConv(channels, channels, options.kernel), channels)

    def forward(self, x: SparseTensor, image: ImageFeatures | None = None) -> FocusedTensor:
        predicted = self.enlarge(x) if self.enlarge is not None else x
        if image is not None:
            predicted = x.with_features(torch.cat([image.at(x.sites), predicted.features], 1))
        logits = self.importance(predicted).features
        growth, source = self._grow(x, logits)
        features = self._spread(source, growth, image)
        earlier = x.importances if isinstance(x, FocusedTensor) else ()
        return FocusedTensor(features, growth.sites, (*earlier, Importance(logits[:, -1], x.sites)))

    def _grow(self, x: SparseTensor, logits: Tensor) -> tuple[Growth, Tensor]:
        """Where features go and what goes there: rows of ``growth.source``."""
        options, probability = self.options, logits.float().sigmoid()
        own, limit = probability[:, -1], options.threshold
        split = by_share(own, x.sites, limit) if options.top else by_threshold(own, limit)
        growth = grow(x.sites, split, probability[:, :-1], options.kernel, limit, options.merge)
        features = x.features * own[:, None].to(x.features.dtype) if options.mask else x.features
        if options.average:
            features = features * growth.weight.to(features.dtype)
        if growth.row is not None:
            features = scatter_sum(features, growth.row, len(growth.source))
        return growth, features

    def _spread(self, source: Tensor, growth: Growth, image: ImageFeatures | None) -> Tensor:
        """Convolution, normalisation and ReLU on the grown sites; new cells hold zeros and are not read."""
        taps, table = self.spread.conv.taps(), spread_table(growth, self.options.kernel)
        if growth.doubled is not None:
            return self._spread_doubled(source, growth, table.rows, image)
        if image is None and not (self.training or torch.is_grad_enabled()):
            return convolve_fused(source, taps, table, *self.spread.norm.folded(), True)
        features = convolve(source, taps, table)
        if image is not None:
            features = features + image.at(growth.sites).to(features.dtype)
        return self.spread.norm(features).relu()

    def _spread_doubled(self, source: Tensor, growth: Growth, rows: Tensor, image: ImageFeatures | None) -> Tensor:
        """As ``_spread`` for ``merge="doubled"``: normalised over all rows, then one sum for each cell."""
        taps = self.spread.conv.taps()
        features = torch.cat([convolve(source, taps, table) for table in doubled_tables(growth, rows)])
        if image is not None:
            seen = image.at(growth.sites).to(features.dtype)
            features = features + torch.cat([seen, seen[second_rows(growth)]])
        return summed(self.spread.norm(features).relu(), growth)


class FocalEncoder(SparseEncoder):
    """``SparseEncoder`` with a focal convolution at the end of each of ``options.use_stages`` (of 1, 2 and 3)."""

    def __init__(self, inputs: int, options: FocalOptions | None = None, channels: int = 128) -> None:
        super().__init__(inputs, channels)
        append_focal(self, options or FocalOptions())


class FocalResNet(SparseResNet):
    """``SparseResNet`` with focal convolutions as ``FocalEncoder``."""

    def __init__(self, inputs: int, options: FocalOptions | None = None, channels: int = 128) -> None:
        super().__init__(inputs, channels)
        append_focal(self, options or FocalOptions())


def append_focal(encoder: FourStages, options: FocalOptions) -> None:
    for number, width in ((1, 16), (2, 32), (3, 64)):
        if number in options.use_stages:
            getattr(encoder, f"stage{number}").append(FocalConv(width, options))


class ImageFocalEncoder(FocalEncoder):
    """Focals Conv-F: one more focal convolution after stage 1, which sees camera images (section 3.3)."""

    def __init__(self, inputs: int, grid: VoxelGrid, options: FocalOptions | None = None, channels: int = 128) -> None:
        options = options or FocalOptions()
        super().__init__(inputs, options, channels)
        self.image = ImageBranch(grid, 16)
        guided = replace(options, kernel=3, enlarge=None, mask=False, average=options.average_image)
        self.guided = FocalConv(16, guided, self.image.channels)

    def stages(self, voxels: SparseTensor) -> list[SparseTensor]:
        """The outputs of stage 1 to 4 of a ``ViewedTensor``."""
        if not isinstance(voxels, ViewedTensor) or len(voxels.views) != voxels.sites.batch_size:
            raise PerceptionError(
                f"voxels of {voxels.sites.batch_size} clouds with {len(getattr(voxels, 'views', ()))} camera views",
                "one view, or None, for each cloud",
                "perceive(model, clouds, views=[...]) brings them",
            )
        maps = [self.guided(self.stage1(self.stem(voxels)), self.image(voxels.views))]
        for stage in (self.stage2, self.stage3, self.stage4):
            maps.append(stage(maps[-1]))
        return maps


def importances(maps: Sequence[SparseTensor]) -> list[Importance]:
    """All importances that were predicted on the way to the given stages."""
    return [part for stage in maps if isinstance(stage, FocusedTensor) for part in stage.importances]
