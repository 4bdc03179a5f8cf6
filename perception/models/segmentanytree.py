"""SegmentAnyTree: trees in lidar of any platform (Wielgosz et al., Remote Sensing of Environment 2024).

PointGroup's two sets of proposals (shifted points and embeddings) on a sparse U-Net of voxels of 0.2 m, scored by a
second one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from perception.backbones.minkowski_unet import Level, MinkowskiUNet
from perception.config import config
from perception.heads.tree_heads import ScoreNet, TreeHeads, VoxelAnswers
from perception.losses.trees import (
    TREE,
    Instances,
    TreeTruth,
    box_centres,
    discriminative_loss,
    offset_losses,
    proposal_overlaps,
    score_loss,
    semantic_loss,
)
from perception.models.tree_model import (
    TreeModel,
    TreeVoxels,
    last_at_random,
    means_of,
    nearest_to_centre,
    sites_of,
    to_points,
)
from perception.points import PointBatch
from perception.results import TreeInstances
from perception.sparse import SparseTensor
from perception.sparse.sites import linear_keys
from perception.trees.clustering import grow_regions, official_grow_regions
from perception.trees.mean_shift import mean_shift
from perception.trees.proposals import Proposals
from perception.trees.suppression import suppress


@config
class TreeLossWeights:
    """Weights of the parts, and the margins of the embedding loss."""

    semantic: float = 1.0
    offset: float = 0.1
    direction: float = 0.1
    embedding: float = 1.0
    score: float = 1.0
    pull: float = 0.5
    push: float = 1.5
    regular: float = 1e-3


@config
class SegmentAnyTreeConfig:
    """Defaults of the published model.

    ``subsampling``: which point stands for a voxel; ``official_random`` takes any, as the published code does.
    ``growing``: ``official_truncated`` looks at 200 neighbours at most, and then depends on the order of points.
    ``shifted_bandwidth``: a third set of proposals, modes of the points shifted to their trees' centres, in which
    heights count ``flattening`` times; None for the two published ones alone.
    ``block_step``: metres between the middles of the cylinders that a plot is cut into.
    ``score_from_epoch``: proposals are not scored before that epoch of training.
    """

    voxel_size: float = 0.2
    downs: tuple[Level, ...] = ((1, 16), (2, 32), (2, 48), (2, 64), (2, 80), (2, 96), (2, 112))
    ups: tuple[Level, ...] = ((2, 96), (2, 80), (2, 64), (2, 48), (2, 32), (2, 16), (1, 16))
    embedding: int = 5
    score_downs: tuple[Level, ...] = ((2, 32), (2, 64))
    score_ups: tuple[Level, ...] = ((2, 32), (2, 16))
    subsampling: Literal["nearest_to_centre", "official_random"] = "nearest_to_centre"
    growing: Literal["components", "official_truncated"] = "components"
    growing_radius: float = 0.3
    growing_least: int = 10
    bandwidth: float = 0.6
    shifted_bandwidth: float | None = None
    flattening: float = 0.25
    block_step: float = 8.0
    suppression: float = 0.3
    least_score: float = 0.6
    least_points: int = 10
    score_from_epoch: int = 31
    loss: TreeLossWeights = TreeLossWeights()


SMALL = SegmentAnyTreeConfig(
    voxel_size=0.25,
    downs=((1, 12), (2, 16), (2, 24), (2, 24), (2, 24), (2, 24)),
    ups=((2, 24), (2, 24), (2, 20), (2, 16), (2, 16), (1, 16)),
    score_downs=((2, 12), (2, 16)),
    score_ups=((2, 12), (2, 12)),
    growing_radius=0.375,
    shifted_bandwidth=0.8,
    block_step=5.0,
    least_score=0.3,
    loss=TreeLossWeights(offset=0.3),
)
"""A twelfth of the weights on coarser voxels, for CPUs. After few steps offsets are known to about a metre, which
breaks regions and not modes: theirs hit most trees of the three sets of proposals."""


@dataclass(frozen=True, eq=False)
class TreePredictions:
    """``answers`` of every voxel; ``proposals`` of voxels and their ``scores`` (P,), logits. Without scoring none."""

    voxels: TreeVoxels
    answers: VoxelAnswers
    proposals: Proposals
    scores: Tensor


class SegmentAnyTree(TreeModel):
    """Voxels, U-Net, three heads, proposals, scores."""

    stages = ("backbone", "voxel_heads", "score")
    heads = ("voxel_heads",)

    def __init__(self, config: SegmentAnyTreeConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SegmentAnyTreeConfig()
        self.backbone = MinkowskiUNet(4, config.downs, config.ups)
        self.voxel_heads = TreeHeads(self.backbone.channels, len(self.classes), config.embedding)
        self.score = ScoreNet(self.backbone.channels, config.score_downs, config.score_ups)
        self.epoch = config.score_from_epoch

    def at_epoch(self, epoch: int) -> None:
        """Training's epoch, counted from 1: early ones leave the scores out. A new model scores."""
        self.epoch = epoch

    def voxelise(self, points: PointBatch) -> TreeVoxels:
        """One point a voxel of a grid about each cloud's mean; features are its x y z there and its height."""
        centred = (points.xyz - means_of(points)[points.sample]).float()
        values = torch.cat([centred, points.values[:, 3:4]], 1)
        place = centred / self.config.voxel_size
        cells = place.round()
        # Layers of stride 2 see shifts that are no multiple of the coarsest cell.
        multiple = 2 ** sum(stride > 1 for stride, _ in self.config.downs)
        coordinates, shape = sites_of(cells.long(), points.sample, multiple, points.batch_size)
        keys = linear_keys(coordinates, shape, points.batch_size)
        chosen, voxel = nearest_to_centre(keys, ((place - cells) ** 2).sum(1), values)
        if self.config.subsampling == "official_random":
            chosen = last_at_random(voxel, 2022)
        tensor = SparseTensor.of(values[chosen], coordinates[chosen], shape, points.batch_size)
        sizes = torch.bincount(points.sample, minlength=points.batch_size).tolist()
        return TreeVoxels(tensor, centred[chosen], chosen, voxel, sizes)

    def forward(self, voxels: TreeVoxels) -> TreePredictions:
        features = self.backbone(voxels.tensor)
        answers = self.voxel_heads(features.features)
        if self.training and self.epoch < self.config.score_from_epoch:
            return TreePredictions(voxels, answers, Proposals.joined([]), features.features.new_zeros(0))
        proposals = self.proposals(voxels, answers)
        return TreePredictions(voxels, answers, proposals, self.score(features, proposals))

    @torch.no_grad()
    def proposals(self, voxels: TreeVoxels, answers: VoxelAnswers) -> Proposals:
        """Regions of the points shifted to their trees' centres, and modes of the embeddings, of predicted trees;
        where it is asked for, modes of the shifted points too."""
        rows = (answers.semantic.argmax(1) == TREE).nonzero()[:, 0]
        sample = voxels.sample[rows].cpu().numpy()
        shifted = (voxels.xyz + answers.offset)[rows].float().cpu().numpy()
        config, rows = self.config, rows.cpu()
        grow = official_grow_regions if config.growing == "official_truncated" else grow_regions
        regions = grow(shifted, sample, config.growing_radius, config.growing_least)
        found = [Proposals.of_labels(torch.from_numpy(regions), rows)]
        embedding = answers.embedding[rows.to(answers.embedding.device)].float().cpu().numpy()
        found += _modes(embedding, sample, rows, config.bandwidth)
        if config.shifted_bandwidth is not None:
            found += _modes(
                shifted * np.array([1, 1, config.flattening], np.float32), sample, rows, config.shifted_bandwidth
            )
        return Proposals.joined(found)

    def results(self, predictions: TreePredictions) -> list[TreeInstances]:
        """Trees of each cloud, the best-scored first; the best of several that hold a point has it."""
        voxels, config = predictions.voxels, self.config
        scores = predictions.scores.detach().float().sigmoid().cpu()
        kept = suppress(predictions.proposals, scores, config.suppression)
        sizes = predictions.proposals.sizes[kept]
        kept = kept[(sizes > config.least_points) & (scores[kept] > config.least_score)]
        chosen = predictions.proposals.select(kept)
        number = np.zeros(len(voxels.xyz), np.int32)
        score = np.zeros(len(voxels.xyz), np.float32)
        backwards = chosen.cluster.argsort(descending=True, stable=True)  # the best is painted last
        cluster, rows = chosen.cluster[backwards].numpy(), chosen.rows[backwards].numpy()
        number[rows] = _numbers(chosen, voxels.sample.cpu())[cluster]
        score[rows] = scores[kept].numpy()[cluster]
        semantic = predictions.answers.semantic.argmax(1).to(torch.uint8).cpu().numpy()
        parts = (to_points(values, voxels) for values in (number, score, semantic))
        return [TreeInstances(*cloud) for cloud in zip(*parts)]

    def loss(self, predictions: TreePredictions, truths: Sequence[TreeTruth]) -> dict[str, Tensor]:  # type: ignore[override]
        voxels, answers, weights = predictions.voxels, predictions.answers, self.config.loss
        tree_id, semantic = voxels.truth(truths)
        instances = Instances.of(tree_id, semantic, voxels.sample)
        rows = (instances.of_row >= 0).nonzero()[:, 0]
        target = (box_centres(voxels.xyz, instances)[instances.of_row[rows]] - voxels.xyz[rows]).float()
        offset, direction = offset_losses(answers.offset[rows], target)
        parts = {
            "semantic": weights.semantic * semantic_loss(answers.semantic, semantic),
            "offset": weights.offset * offset,
            "direction": weights.direction * direction,
            "embedding": weights.embedding
            * discriminative_loss(answers.embedding, instances, weights.pull, weights.push, weights.regular),
            "score": weights.score
            * score_loss(predictions.scores, proposal_overlaps(predictions.proposals, instances)),
        }
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}


def _modes(values: np.ndarray, sample: np.ndarray, rows: Tensor, bandwidth: float) -> list[Proposals]:
    """The rows of each mode of ``values`` (M, D), for each sample of more than three rows."""
    found = []
    for number in np.unique(sample):
        inside = np.flatnonzero(sample == number)
        if len(inside) > 3:
            modes = mean_shift(np.ascontiguousarray(values[inside]), bandwidth)
            # Modes that no point is nearest to are no proposals.
            labels = np.unique(modes.labels, return_inverse=True)[1]
            found.append(Proposals.of_labels(torch.from_numpy(labels), rows[torch.from_numpy(inside)]))
    return found


def _numbers(proposals: Proposals, sample: Tensor) -> np.ndarray:
    """Numbers from 1 within each sample, in the order of the proposals."""
    first = torch.searchsorted(proposals.cluster, torch.arange(proposals.number))
    of = sample[proposals.rows[first]].numpy()
    numbers = np.zeros(proposals.number, np.int32)
    for cloud in np.unique(of):
        inside = of == cloud
        numbers[inside] = np.arange(1, inside.sum() + 1)
    return numbers
