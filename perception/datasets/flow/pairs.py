"""Pairs of scans with the true motion of each point: what models of scene flow learn from and are measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from perception.datasets.flow.classes import BACKGROUND
from perception.points import PointCloud
from perception.scan_pair import GROUND, FlowTruth, ScanPair, ground_mask

MOVING_DISTANCE = 0.05
"""Metres in 0.1 s beyond the ego motion from which the benchmarks count a point as moving."""


@dataclass(frozen=True, eq=False)
class FlowLabels:
    """What is true of the N points of a first scan.

    ``flow`` (N, 3) float32 metres, the ego motion included; ``moving`` (N,) bool; ``valid`` (N,) bool: False where the
    motion is not known; ``category`` (N,) uint8 by ``flow_classes.NAMES``, 0 for the background; ``box`` (N,) int32,
    the row of ``tracks`` that a point belongs to, or -1; ``tracks``: names of the objects.
    """

    flow: np.ndarray
    moving: np.ndarray
    valid: np.ndarray
    category: np.ndarray
    box: np.ndarray
    tracks: np.ndarray

    def __len__(self) -> int:
        return len(self.flow)

    def select(self, rows: np.ndarray) -> FlowLabels:
        """The labels of some points, by a mask or by indices."""
        per_point = {name: getattr(self, name)[rows] for name in ("flow", "moving", "valid", "category", "box")}
        return replace(self, **per_point)

    def truth(self) -> FlowTruth:
        """The same for losses: flow that is not known is NaN."""
        flow = np.where(self.valid[:, None], self.flow, np.float32(np.nan))
        return FlowTruth(torch.from_numpy(flow), torch.from_numpy(self.category != BACKGROUND))


@dataclass(frozen=True, eq=False)
class FlowSample:
    """Two scans, ``seconds`` apart, with the labels of the first one's points where there are any.

    Both clouds have the field ``ground``. ``motion`` is what losses without labels need: see ``FlowTruth``.
    """

    identifier: str
    pair: ScanPair
    labels: FlowLabels | None = None
    seconds: float = 0.1
    motion: tuple[np.ndarray, np.ndarray] | None = None

    def truth(self) -> FlowTruth:
        """What is known, for losses."""
        known = FlowTruth() if self.labels is None else self.labels.truth()
        if self.motion is None:
            return known
        first, second = (torch.from_numpy(part) for part in self.motion)
        return replace(known, motion=(first, second))


class FlowDataset(Protocol):
    """What training and evaluation ask of a data set of pairs."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> FlowSample: ...

    @property
    def identifiers(self) -> Sequence[str]: ...


def with_ground(cloud: PointCloud, ground: np.ndarray) -> PointCloud:
    """The cloud with its field ``ground`` set."""
    return replace(cloud, fields={**cloud.fields, GROUND: np.asarray(ground, np.bool_)})


def without_ground(sample: FlowSample) -> FlowSample:
    """The sample without the points on the ground, in both scans and in the labels."""
    kept = [~ground_mask(cloud) for cloud in (sample.pair.first, sample.pair.second)]
    pair = ScanPair(sample.pair.first.select(kept[0]), sample.pair.second.select(kept[1]), sample.pair.pose)
    labels = None if sample.labels is None else sample.labels.select(kept[0])
    motion = None if sample.motion is None else (sample.motion[0][kept[0]], sample.motion[1][kept[1]])
    return replace(sample, pair=pair, labels=labels, motion=motion)
