"""What all models of scene flow share: the way from two scans to the motion of the first one's points."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor

from perception.backbones.union_pillars import UnionVoxels, union_voxelise
from perception.errors import PerceptionError
from perception.losses.scene_flow import foreground_loss, speed_group_loss, speed_scaled_loss
from perception.losses.seflow import MotionPair, seflow_loss
from perception.models.model import Model
from perception.points import PointCloud
from perception.results import SceneFlow
from perception.scan_pair import FlowTruth, PairBatch, ScanPair
from perception.sparse import VoxelGrid

T = TypeVar("T")
FlowLoss = Literal["deflow", "zeroflow", "fastflow3d", "seflow"]


@dataclass(frozen=True, eq=False)
class FlowPredictions:
    """``residual`` (N, 3) metres beyond the ego motion, of the first scans' points in range of ``voxels``."""

    residual: Tensor
    voxels: UnionVoxels

    @property
    def rows(self) -> Tensor:
        """Row (N,) of each prediction among all points of the first clouds, one cloud after the other."""
        return self.voxels.pairs.kept[0][self.voxels.first.rows]

    def total(self) -> Tensor:
        """Flow of all points of the first clouds: that of the ego motion alone where nothing was predicted."""
        ego = self.voxels.pairs.ego_flow
        return ego.index_add(0, self.rows, self.residual.to(ego.dtype))


class FlowModel(Model):
    """A model of two scans, whose ``config`` has ``point_range``, ``voxel_size``, ``loss`` and ``moving_distance``.

    Where other models take clouds this one takes pairs, and its loss takes what is known about them. Subclasses write
    ``residual``.
    """

    task = "flow"

    @property
    def classes(self) -> tuple[str, ...]:
        return ()

    @property
    def grid(self) -> VoxelGrid:
        return VoxelGrid(self.config.point_range, self.config.voxel_size)

    def points(self, pairs: Sequence[ScanPair] | Sequence[PointCloud]) -> PairBatch:  # type: ignore[override]
        """Leave the ground out, take the first scans to where the second ones are, and stack both."""
        chosen = [pair for pair in pairs if isinstance(pair, ScanPair)]
        if len(chosen) != len(pairs):
            raise PerceptionError(
                f"single clouds for {type(self).__name__}, a model of scene flow",
                "pairs of scans",
                "pass ScanPair(first, second, pose), or scans one after another to a FlowStream",
            )
        return PairBatch.of(chosen, self.device)

    def voxelise(self, points: PairBatch) -> UnionVoxels:  # type: ignore[override]
        return union_voxelise(points, self.grid)

    @abstractmethod
    def residual(self, voxels: UnionVoxels) -> Tensor:
        """Motion (N, 3) beyond the ego motion, metres, of the first scans' points in range."""

    def forward(self, voxels: UnionVoxels) -> FlowPredictions:
        return FlowPredictions(self.residual(voxels), voxels)

    def results(self, predictions: FlowPredictions) -> list[SceneFlow]:
        """Flow of every point of the first clouds; those on the ground and out of range have the ego motion's."""
        sizes = predictions.voxels.pairs.sizes[0]
        flow = predictions.total()
        moving = torch.zeros(len(flow), dtype=torch.bool, device=flow.device)
        moving[predictions.rows] = predictions.residual.norm(dim=1) >= self.config.moving_distance
        return [SceneFlow(*parts) for parts in zip(flow.split(sizes), moving.split(sizes))]

    def loss(  # type: ignore[override]
        self, predictions: FlowPredictions, truths: Sequence[FlowTruth]
    ) -> dict[str, Tensor]:
        """``loss`` and its parts, by ``config.loss``; samples are added, as in the published training."""
        if self.config.loss == "seflow":
            return seflow_loss(_motion_pairs(predictions, truths))
        parts = [self._supervised(*sample) for sample in _samples(predictions, truths)]
        return {"loss": torch.stack(parts).sum() if parts else predictions.residual.sum()}

    def _supervised(self, residual: Tensor, rows: Tensor, ego: Tensor, truth: FlowTruth) -> Tensor:
        true = _needed(truth.flow, "the true flow").to(ego)[rows] - ego[rows]
        known = true.isfinite().all(1)
        residual, true = residual[known], true[known]
        if self.config.loss == "deflow":
            return speed_group_loss(residual, true)
        if self.config.loss == "zeroflow":
            return speed_scaled_loss(residual, true)
        foreground = _needed(truth.foreground, "which points belong to objects").to(ego.device)
        return foreground_loss(residual, true, foreground[rows][known])


def _samples(
    predictions: FlowPredictions, truths: Sequence[FlowTruth]
) -> list[tuple[Tensor, Tensor, Tensor, FlowTruth]]:
    """Of each sample the residuals, their rows in its first cloud, the ego flow of that cloud, and its truth."""
    pairs = predictions.voxels.pairs
    if len(truths) != pairs.batch_size:
        raise PerceptionError(f"{len(truths)} truths for {pairs.batch_size} pairs", "one a pair")
    sample = pairs.first.sample[predictions.voxels.first.rows]
    found, before = [], 0
    for number, (size, truth) in enumerate(zip(pairs.sizes[0], truths)):
        chosen = (sample == number).nonzero()[:, 0]
        ego = pairs.ego_flow[before : before + size]
        found.append((predictions.residual[chosen], predictions.rows[chosen] - before, ego, truth))
        before += size
    return found


def _motion_pairs(predictions: FlowPredictions, truths: Sequence[FlowTruth]) -> list[MotionPair]:
    """The points in range with their labels; ground and points out of range take no part, as published."""
    voxels = predictions.voxels
    pairs, found, before = voxels.pairs, [], [0, 0]
    if len(truths) != pairs.batch_size:
        raise PerceptionError(f"{len(truths)} truths for {pairs.batch_size} pairs", "one a pair")
    for number, truth in enumerate(truths):
        labels = _needed(truth.motion, "motion labels of both scans")
        points, motion, rows = [], [], []
        for side, (scan, batch) in enumerate(((voxels.first, pairs.first), (voxels.second, pairs.second))):
            chosen = (batch.sample[scan.rows] == number).nonzero()[:, 0]
            places = pairs.kept[side][scan.rows[chosen]] - before[side]
            points.append(scan.points[chosen])
            motion.append(labels[side].to(places.device)[places])
            rows.append(chosen)
            before[side] += pairs.sizes[side][number]
        found.append(MotionPair(points[0], predictions.residual[rows[0]], points[1], motion[0], motion[1]))
    return found


def _needed(value: T | None, what: str) -> T:
    if value is None:
        raise PerceptionError(f"a FlowTruth without {what}", "what the configured loss needs", "see FlowModel.loss")
    return value
