"""What every model of the catalogue offers, whatever its task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from perception.points import PointBatch, PointCloud


class Model(nn.Module):
    """A network between clouds and results. The types of voxels and predictions are each model's own.

    ``stages`` names the submodules in the order in which they run, for timing and for comparison with other
    implementations. ``config`` is the frozen configuration that the model was made from.
    """

    task: ClassVar[str]
    stages: ClassVar[tuple[str, ...]]
    config: Any

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

    @abstractmethod
    def results(self, predictions: Any) -> list[Any]:
        """One result of ``perception.results`` a cloud."""

    @abstractmethod
    def loss(self, predictions: Any, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """``loss`` and its parts; ``boxes`` (N, 7) and class indices ``labels`` (N,) of each sample."""
