"""The way of the data for scene flow: two scans -> voxels of both -> features -> the motion of every point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from perception.models.flow_model import FlowModel
from perception.points import PointCloud
from perception.results import SceneFlow
from perception.scan_pair import ScanPair
from perception.timing import Stopwatch


@torch.inference_mode()
def perceive_flow(model: FlowModel, pairs: Sequence[ScanPair], stopwatch: Stopwatch | None = None) -> list[SceneFlow]:
    """The flow of each pair's first scan, in order. ``stopwatch`` collects the seconds of each stage."""
    watch = stopwatch or Stopwatch()
    with watch.lap("points"):
        points = model.points(pairs)
    with watch.lap("voxelise"):
        voxels = model.voxelise(points)
    with watch.watch(model, model.stages):
        predictions = model(voxels)
    with watch.lap("results"):
        return model.results(predictions)


class FlowStream:
    """Scene flow of scans as they come in: each is compared with the one before it, with the same result as a pair.

    The network sees the earlier scan in the frame of the later one, so no feature of it outlives the scan: what is
    kept is the scan itself. ``stopwatch`` has the seconds of the latest scan by stage.
    """

    def __init__(self, model: FlowModel) -> None:
        self.model = model
        self.stopwatch = Stopwatch()
        self._before: PointCloud | None = None

    def push(self, scan: PointCloud, pose: np.ndarray | None = None) -> SceneFlow | None:
        """Flow of the scan before this one, to this one's time; None for the first scan.

        ``pose`` (4, 4) takes points from the frame of the scan before to this one's; without it both lie in one.
        """
        self.stopwatch = Stopwatch()
        before, self._before = self._before, scan
        if before is None:
            return None
        pair = ScanPair(before, scan) if pose is None else ScanPair(before, scan, pose)
        return perceive_flow(self.model, [pair], self.stopwatch)[0]

    def reset(self) -> None:
        """Forget the latest scan: the next one is a first one again."""
        self._before = None
