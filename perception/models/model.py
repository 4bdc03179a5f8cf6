"""What every model of the catalogue offers, whatever its task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from perception.camera import CameraView
from perception.points import PointBatch, PointCloud


class Model(nn.Module):
    """A network between clouds and results. The types of voxels and predictions are each model's own.

    ``stages`` names the submodules in the order in which they run, for timing and for comparison with other
    implementations, ``heads`` those that depend on the classes. ``config`` is the frozen configuration that the model
    was made from. ``velocity``: its boxes have velocities, in its results and in those that its loss takes.
    ``reads_images``: its voxels need ``with_views``.
    """

    task: ClassVar[str]
    stages: ClassVar[tuple[str, ...]]
    heads: ClassVar[tuple[str, ...]] = ("head",)
    config: Any
    velocity: bool = False
    reads_images: ClassVar[bool] = False

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of what the model tells apart."""

    @abstractmethod
    def points(self, clouds: Sequence[PointCloud]) -> PointBatch:
        """Stack clouds with the point features that the model reads, on the model's device."""

    @abstractmethod
    def voxelise(self, points: PointBatch) -> Any:
        """Group points into the model's voxels."""

    def with_views(self, voxels: Any, views: Sequence[CameraView | None]) -> Any:
        """``voxels`` and the camera view of each cloud; models that read no images leave them out."""
        return voxels

    @abstractmethod
    def results(self, predictions: Any) -> list[Any]:
        """One result of ``perception.results`` a cloud."""

    @abstractmethod
    def loss(self, predictions: Any, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """``loss`` and its parts; ``boxes`` and class indices ``labels`` (N,) of each sample.

        Boxes are (N, 7), or (N, 9) for models with velocities, where NaN stands for one that is not known.
        """
