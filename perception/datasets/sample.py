"""One labelled recording, the same for every data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from perception.boxes import Boxes3D
from perception.camera import CameraView
from perception.errors import PerceptionError
from perception.points import PointCloud


@dataclass(frozen=True, eq=False)
class Objects:
    """Labelled objects of one recording, in the frame of its cloud.

    ``names`` (N,) str, class of each box as the data set calls it; ``attributes`` further arrays of length N by name
    (KITTI: ``difficulty``, ``truncation``, ``occlusion``, ``bbox`` (N, 4) pixels, ``alpha``; others: ``track``, ...).
    """

    boxes: Boxes3D
    names: np.ndarray
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def select(self, rows: np.ndarray) -> Objects:
        """The objects of a boolean mask or an index array."""
        rows = np.asarray(rows)
        index = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        return Objects(self.boxes[index], self.names[rows], {k: v[rows] for k, v in self.attributes.items()})


@dataclass(frozen=True, eq=False)
class Sample:
    """A cloud, its labels where there are any, its calibration where the data set has one, and a camera view.

    ``view`` follows the points: its ``to_camera`` undoes what augmentation did to them.
    """

    identifier: str
    cloud: PointCloud
    objects: Objects | None = None
    calibration: object | None = None
    view: CameraView | None = None


class Dataset(Protocol):
    """What training and evaluation ask of a data set: a length and samples by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


class NamedDataset(Dataset, Protocol):
    """What the catalogue makes: one whose recordings can be named without reading them, for the card of the weights."""

    @property
    def identifiers(self) -> Sequence[str]: ...


class EveryNth:
    """Each ``step``-th recording of a data set: neighbours in time show the same objects."""

    def __init__(self, dataset: Dataset, step: int) -> None:
        if step < 1:
            raise PerceptionError(f"every {step}-th recording", "1 or more")
        self.dataset, self.step = dataset, step

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.step)

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[index * self.step]
