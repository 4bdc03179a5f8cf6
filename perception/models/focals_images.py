"""Focals Conv-F (Chen et al., CVPR 2022, section 3.3): two-stage detectors whose focal encoder also sees an image.

Ground-truth sampling pastes points but no pixels: leave it out of training, or pasted objects are seen as background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from perception.backbones.focal import FocalOptions, ImageFocalEncoder, ViewedTensor
from perception.backbones.sparse_encoder import FourStages
from perception.camera import CameraView
from perception.config import config
from perception.errors import PerceptionError
from perception.models.focals import FocalBackbone, FocalsPVRCNNConfig, FocalsVoxelRCNNConfig
from perception.models.pv_rcnn import PVRCNN
from perception.models.voxel_rcnn import VoxelRCNN
from perception.sparse import SparseTensor


@config
class FocalsImageVoxelRCNNConfig(FocalsVoxelRCNNConfig):
    """Of KITTI's three classes."""

    focal: FocalOptions = FocalOptions(enlarge=None)


@config
class FocalsImagePVRCNNConfig(FocalsPVRCNNConfig):
    """Of KITTI's three classes."""

    focal: FocalOptions = FocalOptions(enlarge=None)


@dataclass(frozen=True, eq=False)
class ViewedVoxels:
    """``voxels`` as the model without images takes them, and the camera view of each cloud."""

    voxels: Any
    views: tuple[CameraView | None, ...]


def _with_image(stages: tuple[str, ...]) -> tuple[str, ...]:
    after = stages.index("backbone.stage1") + 1
    return (*stages[:after], "backbone.image", "backbone.guided", *stages[after:])


class ImageFocalBackbone(FocalBackbone):
    """The views travel beside the voxels as far as the backbone; nothing behind it sees them."""

    reads_images = True

    def make_backbone(self, inputs: int) -> FourStages:
        return ImageFocalEncoder(inputs, self.grid, self.config.focal)

    def with_views(self, voxels: Any, views: Sequence[CameraView | None]) -> ViewedVoxels:
        batch = super().hard_voxels(voxels).batch_size
        if len(views) != batch:
            raise PerceptionError(
                f"{len(views)} camera views for {batch} clouds", "one a cloud", "give None for a cloud without an image"
            )
        if self.training and any(view is None for view in views):
            raise PerceptionError(
                "a recording without its image in training", "an image for each", "set `image: true` for the data set"
            )
        return ViewedVoxels(voxels, tuple(views))

    def hard_voxels(self, voxels: Any) -> Any:
        if not isinstance(voxels, ViewedVoxels):
            raise PerceptionError(
                f"no camera views for {type(self).__name__}",
                "the image of each cloud: the model was trained on both",
                "perceive(model, clouds, views=[...]), with None for a cloud without an image",
            )
        return ViewedVoxels(super().hard_voxels(voxels.voxels), voxels.views)

    def volume(self, voxels: Any) -> ViewedTensor:
        plain = super().volume(voxels.voxels)
        return ViewedTensor(plain.features, plain.sites, voxels.views)

    def roi_features(self, voxels: Any, volume: SparseTensor, stages: list[SparseTensor], flat: Tensor) -> Any:
        return super().roi_features(voxels.voxels, volume, stages, flat)  # type: ignore[safe-super]


class FocalsImageVoxelRCNN(ImageFocalBackbone, VoxelRCNN):
    """Voxel R-CNN on a focal encoder that sees an image."""

    config: FocalsImageVoxelRCNNConfig
    stages = _with_image(VoxelRCNN.stages)

    def __init__(self, config: FocalsImageVoxelRCNNConfig | None = None) -> None:
        super().__init__(config or FocalsImageVoxelRCNNConfig())


class FocalsImagePVRCNN(ImageFocalBackbone, PVRCNN):
    """PV-RCNN on a focal encoder that sees an image."""

    config: FocalsImagePVRCNNConfig
    stages = _with_image(PVRCNN.stages)

    def __init__(self, config: FocalsImagePVRCNNConfig | None = None) -> None:
        super().__init__(config or FocalsImagePVRCNNConfig())
