"""An exported folder as a detector: our voxels, its network, our suppression; no code or weights of the model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.export.feeds import Dropped, Feed, feed_of
from perception.export.growth import grown_feed
from perception.export.manifest import Manifest, read_manifest
from perception.export.select import detections_of
from perception.export.sessions import Session, open_session
from perception.models.detector import Detector
from perception.points import PointBatch
from perception.results import Detections


class LimitWarning(UserWarning):
    """A cloud had more points or voxels than an exported file takes."""


@dataclass(frozen=True)
class ExportedConfig:
    """What programs ask of a detector's configuration."""

    classes: tuple[str, ...]
    point_fields: tuple[str, ...]
    point_range: tuple[float, float, float, float, float, float]
    voxel_size: tuple[float, float, float]
    ground_height: float
    files: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ExportedVoxels:
    """The inputs of each cloud; ``clipped`` points were in range and are left out."""

    feeds: tuple[Feed, ...]
    clipped: int


class ExportedDetector(Detector):
    """Runs an exported folder. Clouds of a batch go through one after the other."""

    stages = ()
    heads = ()

    def __init__(self, folder: Path, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.folder, self.manifest = folder, read_manifest(folder)
        manifest, self._device = self.manifest, torch.device(device)
        self.velocity = manifest.velocity
        self.config = ExportedConfig(
            manifest.classes,
            manifest.point_fields,
            manifest.point_range,
            manifest.voxel_size,
            manifest.ground_height,
            tuple(segment.sha256 for segment in manifest.segments),
        )
        self.sessions: list[Session] = [
            open_session(folder, manifest, segment, self._device) for segment in manifest.segments
        ]

    @property
    def device(self) -> torch.device:
        """Where points and results are: the network may run elsewhere."""
        return torch.device("cpu")

    @property
    def classes(self) -> tuple[str, ...]:
        return self.manifest.classes

    def voxelise(self, points: PointBatch) -> ExportedVoxels:
        """A LimitWarning says what did not fit."""
        feeds = []
        for sample in range(points.batch_size):
            rows = points.sample == sample
            values = points.values if points.batch_size == 1 else points.values[rows]
            feed = feed_of(PointBatch(values, torch.zeros(len(values), dtype=torch.int64), 1), self.manifest)
            if feed.dropped:
                warnings.warn(_said(feed.dropped, self.manifest), LimitWarning, stacklevel=2)
            feeds.append(feed)
        clipped = sum(feed.dropped.clipped + feed.dropped.points_left_out for feed in feeds)
        return ExportedVoxels(tuple(feeds), clipped)

    def forward(self, voxels: ExportedVoxels) -> list[dict[str, Tensor]]:
        return [self._run(feed) for feed in voxels.feeds]

    def _run(self, feed: Feed) -> dict[str, Tensor]:
        arrays: Mapping[str, Tensor] = feed.arrays
        for number, session in enumerate(self.sessions):
            found = session.run(arrays)
            if number < len(self.sessions) - 1:
                features, importance = found[f"features{number}"], found[f"importance{number}"]
                arrays = grown_feed(feed, self.manifest, number, features, importance)
        return found

    def results(self, predictions: Sequence[Mapping[str, Tensor]]) -> list[Detections]:
        return [detections_of(found, self.manifest) for found in predictions]

    def loss(self, predictions: Any, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> dict[str, Tensor]:
        raise PerceptionError(f"{self.folder} is an exported network", "the weights, for training", "train those")


def load_export(path: Path, device: torch.device | str = "cpu") -> ExportedDetector:
    """The detector of an exported folder, or of the manifest in it."""
    return ExportedDetector(path if path.is_dir() else path.parent, device)


def _said(dropped: Dropped, manifest: Manifest) -> str:
    parts = []
    if dropped.points_left_out:
        parts.append(
            f"{dropped.points_left_out:,} of {dropped.points:,} points in range left out, the last ones: the exported "
            f"file takes {manifest.limits.points:,}"
        )
    if dropped.voxels_left_out:
        which = "those with the fewest points" if manifest.voxels.kind == "dynamic" else "the last ones"
        parts.append(
            f"{dropped.voxels_left_out:,} of {dropped.voxels:,} voxels left out, {which}: the exported file takes "
            f"{manifest.limits.voxels:,}"
        )
    return "; ".join(parts)
