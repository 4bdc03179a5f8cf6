"""The way of the data: points -> voxels -> features -> predictions -> results."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from perception.camera import CameraView
from perception.models.model import Model
from perception.points import PointCloud
from perception.results import Result
from perception.timing import Stopwatch


@torch.inference_mode()
def perceive(
    model: Model,
    clouds: Sequence[PointCloud],
    stopwatch: Stopwatch | None = None,
    views: Sequence[CameraView | None] | None = None,
) -> list[Result]:
    """One result a cloud, in order. ``stopwatch`` collects the seconds of each stage.

    A cloud without points, or with none in range, gives an empty result. ``views``: the camera view of each cloud, or
    None for one without; models that read no images leave them out.
    """
    watch = stopwatch or Stopwatch()
    with watch.lap("points"):
        points = model.points(clouds)
    with watch.lap("voxelise"):
        voxels = model.voxelise(points)
        if views is not None:
            voxels = model.with_views(voxels, views)
    with watch.watch(model, model.stages):
        predictions = model(voxels)
    with watch.lap("results"):
        return model.results(predictions)
