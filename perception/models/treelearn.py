"""TreeLearn: trees in terrestrial lidar by the feet that their points point to (Henrich et al., Ecological Informatics
2024)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.backbones.preactivated_unet import EPS, MOMENTUM, NormReLU, PreactivatedUNet
from perception.config import config
from perception.dense import Linear
from perception.losses.trees import IGNORED, Instances, TreeTruth
from perception.models.tree_model import TreeModel, TreeVoxels, nearest_to_centre, sites_of, to_points
from perception.points import PointBatch
from perception.results import TreeInstances
from perception.sparse import BatchNorm, SparseTensor, SubmanifoldConv
from perception.sparse.sites import linear_keys
from perception.trees.grouping import Grouping, group_shifted
from perception.trees.shape import verticality


@config
class TreeLearnConfig:
    """Defaults as published. ``inputs`` are constant ones: the network sees where voxels are and nothing else."""

    voxel_size: float = 0.1
    inputs: int = 4
    channels: int = 32
    levels: int = 7
    verticality_radius: float = 0.6
    foot_height: float = 0.5
    grouping: Grouping = Grouping()
    semantic_weight: float = 50.0
    offset_weight: float = 1.0


@dataclass(frozen=True, eq=False)
class FootPredictions:
    """``semantic`` (M, 2) logits and ``offset`` (M, 3) metres to the foot of the tree, of every voxel."""

    voxels: TreeVoxels
    semantic: Tensor
    offset: Tensor


class Branch(nn.Module):
    """Two linear layers with batch normalisation and ReLU between."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.hidden = Linear(channels, channels)
        self.norm = BatchNorm(channels, eps=EPS, momentum=MOMENTUM)
        self.out = Linear(channels, outputs)

    def forward(self, features: Tensor) -> Tensor:
        answer: Tensor = self.out(torch.relu(self.norm(self.hidden(features))))
        return answer


class TreeLearn(TreeModel):
    """Voxels of 0.1 m, a sparse U-Net, what each is and where its tree stands; grouping seen from above."""

    stages = ("stem", "backbone", "finish", "semantic", "offset")
    heads = ("semantic",)
    learns_feet = True

    def __init__(self, config: TreeLearnConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TreeLearnConfig()
        self.stem = SubmanifoldConv(config.inputs, config.channels, 3)
        self.backbone = PreactivatedUNet([config.channels * (level + 1) for level in range(config.levels)])
        self.finish = NormReLU(config.channels)
        self.semantic = Branch(config.channels, 2)
        self.offset = Branch(config.channels, 3)

    def voxelise(self, points: PointBatch) -> TreeVoxels:
        """Voxels from the lowest corner of each cloud on; the point nearest to its middle stands for a voxel.

        The grid is made of whole coarsest cells. The published code's ends with the last voxel, and each of its strided
        layers drops the last row of an odd one.
        """
        low = points.xyz.new_full((points.batch_size, 3), torch.inf)
        low = low.scatter_reduce(0, points.sample[:, None].expand(-1, 3), points.xyz, "amin")
        place = (points.xyz - low[points.sample]) / self.config.voxel_size
        cells = place.floor()
        coordinates, shape = sites_of(cells.long(), points.sample, 2 ** (self.config.levels - 1), points.batch_size)
        keys = linear_keys(coordinates, shape, points.batch_size)
        chosen, voxel = nearest_to_centre(keys, ((place - cells - 0.5) ** 2).sum(1), points.xyz)
        ones = points.xyz.new_ones((len(chosen), self.config.inputs))
        tensor = SparseTensor.of(ones, coordinates[chosen], shape, points.batch_size)
        sizes = torch.bincount(points.sample, minlength=points.batch_size).tolist()
        return TreeVoxels(tensor, points.xyz[chosen], chosen, voxel, sizes)

    def forward(self, voxels: TreeVoxels) -> FootPredictions:
        features = self.finish(self.backbone(self.stem(voxels.tensor))).features
        return FootPredictions(voxels, self.semantic(features), self.offset(features))

    def results(self, predictions: FootPredictions) -> list[TreeInstances]:
        """Trees of each cloud by themselves; a tree's score is the probability of each point to be of one."""
        voxels = predictions.voxels
        probability = predictions.semantic.detach().float().softmax(1)[:, 1].cpu().numpy()
        offset, xyz = predictions.offset.detach().float().cpu().numpy(), voxels.xyz.cpu().numpy()
        sample = voxels.sample.cpu().numpy()
        number = np.zeros(len(xyz), np.int32)
        for cloud in range(len(voxels.sizes)):
            rows = np.flatnonzero(sample == cloud)
            upright = verticality(xyz[rows], self.config.verticality_radius)
            number[rows] = group_shifted(xyz[rows], offset[rows], probability[rows], upright, self.config.grouping)
        score = np.where(number > 0, probability, 0).astype(np.float32)
        semantic = (probability >= self.config.grouping.tree_probability).astype(np.uint8)
        parts = (to_points(values, voxels) for values in (number, score, semantic))
        return [TreeInstances(*cloud) for cloud in zip(*parts)]

    def loss(self, predictions: FootPredictions, truths: Sequence[TreeTruth]) -> dict[str, Tensor]:  # type: ignore[override]
        voxels = predictions.voxels
        tree_id, labels = voxels.truth(truths)
        known = labels != IGNORED
        semantic = predictions.semantic.sum() * 0
        if known.any():
            semantic = F.cross_entropy(predictions.semantic[known], labels[known])
        instances = Instances.of(tree_id, labels, voxels.sample)
        rows = (instances.of_row >= 0).nonzero()[:, 0]
        offset = predictions.offset.sum() * 0
        if len(rows):
            target = self._feet(voxels, instances, truths)[rows] - voxels.xyz[rows]
            offset = (predictions.offset[rows] - target).norm(dim=1).mean()
        parts = {"semantic": self.config.semantic_weight * semantic, "offset": self.config.offset_weight * offset}
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def _feet(self, voxels: TreeVoxels, instances: Instances, truths: Sequence[TreeTruth]) -> Tensor:
        """Foot (M, 3) of each voxel's tree: the one given, else the mean of the tree's lowest part."""
        given = [truth.base for truth in truths]
        if all(base is not None for base in given):
            return torch.cat([base for base in given if base is not None]).to(voxels.xyz)[voxels.chosen]
        rows = (instances.of_row >= 0).nonzero()[:, 0]
        tree, xyz = instances.of_row[rows], voxels.xyz[rows]
        ceiling = lowest_heights(tree, xyz[:, 2], instances.number) + self.config.foot_height
        at_foot = xyz[:, 2] <= ceiling[tree]
        feet = xyz.new_zeros(instances.number, 3).index_add(0, tree[at_foot], xyz[at_foot])
        feet = feet / torch.bincount(tree[at_foot], minlength=instances.number)[:, None]
        return feet[instances.of_row.clamp(min=0)]


def lowest_heights(tree: Tensor, z: Tensor, number: int) -> Tensor:
    """The fourth-lowest height (T,) of each tree of more than eleven points, as published, else the lowest."""
    order = z.argsort(stable=True)
    order = order[tree[order].argsort(stable=True)]
    counts = torch.bincount(tree, minlength=number)
    starts = counts.cumsum(0) - counts
    return z[order[starts + torch.where(counts > 11, 3, 0)]]
