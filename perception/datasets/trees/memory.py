"""Plots kept in memory between epochs, thinned: reading or making one takes longer than a step of training."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from perception.datasets.sample import Dataset, Sample
from perception.datasets.trees.labels import SEMANTIC, TREE_ID
from perception.errors import PerceptionError
from perception.models.tree_model import HEIGHT, nearest_to_centre
from perception.points import PointCloud


class RememberedPlots:
    """Plots of ``source`` with one point in each cell of ``finest`` metres (None: all points), the latest of them in
    memory up to ``points`` points. Clouds have the fields ``tree_id``, ``semantic`` and ``height_in_file`` only.

    What is in memory never shows in the samples.
    """

    def __init__(self, source: Dataset, finest: float | None = 0.05, points: int = 60_000_000) -> None:
        if (finest is not None and not finest > 0) or points < 0:
            raise PerceptionError(
                f"finest {finest}, {points} points in memory", "metres above 0, or none, and 0 or more"
            )
        self.source, self.finest, self.points = source, finest, points
        self._kept: OrderedDict[int, Sample] = OrderedDict()

    def __getattr__(self, name: str) -> Any:
        if name == "source" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.source, name)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        sample = self.source[index]
        sample = Sample(sample.identifier, _slim(sample.cloud, self.finest))
        self._kept[index] = sample
        while sum(len(kept.cloud) for kept in self._kept.values()) > self.points:
            self._kept.popitem(last=False)
        return sample


def _slim(cloud: PointCloud, finest: float | None) -> PointCloud:
    z = cloud.xyz[:, 2]
    fields = {
        TREE_ID: cloud.fields[TREE_ID].astype(np.int32),
        SEMANTIC: cloud.fields[SEMANTIC],
        HEIGHT: z - z.min() if len(z) else z,
    }
    slim = replace(cloud, fields=fields)
    return slim if finest is None or not len(cloud) else slim.select(one_a_cell(cloud.xyz, finest))


def one_a_cell(xyz: np.ndarray, size: float) -> np.ndarray:
    """Rows of the point nearest to the middle of each cell of ``size`` metres, ascending; no matter how points are
    ordered, the same points."""
    place = torch.from_numpy(xyz) / size
    cells = place.floor()
    low = cells.amin(0)
    spans = (cells.amax(0) - low + 1).long()
    steps = torch.tensor([int(spans[1] * spans[2]), int(spans[2]), 1])
    keys = ((cells - low).long() * steps).sum(1)
    chosen, _ = nearest_to_centre(keys, ((place - cells - 0.5) ** 2).sum(1), torch.from_numpy(xyz))
    rows: np.ndarray = chosen.sort().values.numpy()
    return rows
