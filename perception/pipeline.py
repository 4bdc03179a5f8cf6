"""The way of the data: points -> voxels -> features -> predictions -> results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from perception.points import PointBatch, PointCloud
from perception.results import Result
from perception.timing import Stopwatch


class Model(Protocol):
    """What every model of the catalogue offers, whatever its task; the types between the stages are its own."""

    task: str
    stages: tuple[str, ...]

    def points(self, clouds: Sequence[PointCloud]) -> PointBatch: ...

    def voxelise(self, points: PointBatch) -> Any: ...

    def __call__(self, voxels: Any) -> Any: ...

    def results(self, predictions: Any) -> list[Any]: ...


@torch.inference_mode()
def perceive(model: Model, clouds: Sequence[PointCloud], stopwatch: Stopwatch | None = None) -> list[Result]:
    """One result a cloud, in order. ``stopwatch`` collects the seconds of each stage.

    A cloud without points, or with none in range, gives an empty result.
    """
    watch = stopwatch or Stopwatch()
    with watch.lap("points"):
        points = model.points(clouds)
    with watch.lap("voxelise"):
        voxels = model.voxelise(points)
    with watch.watch(model, model.stages):  # type: ignore[arg-type]
        predictions = model(voxels)
    with watch.lap("results"):
        return model.results(predictions)
