"""Heads on the features of voxels: what a voxel is, where its tree's centre lies, and what tells its tree apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.backbones.minkowski_unet import Level, MinkowskiUNet
from perception.dense import Linear
from perception.sparse import BatchNorm, SparseTensor
from perception.trees.proposals import Proposals


class VoxelHead(nn.Module):
    """A linear layer with batch normalisation and LeakyReLU, and one that answers ``outputs`` numbers a voxel."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.hidden = Linear(inputs, inputs, bias=False)
        self.norm = BatchNorm(inputs)
        self.out = Linear(inputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        answer: Tensor = self.out(F.leaky_relu(self.norm(self.hidden(features)), 0.2))
        return answer


@dataclass(frozen=True, eq=False)
class VoxelAnswers:
    """``semantic`` (M, classes) log-probabilities, ``offset`` (M, 3) metres to the tree's centre, ``embedding``
    (M, E), near for voxels of one tree."""

    semantic: Tensor
    offset: Tensor
    embedding: Tensor


class TreeHeads(nn.Module):
    """The three heads of SegmentAnyTree."""

    def __init__(self, inputs: int, classes: int = 2, embedding: int = 5) -> None:
        super().__init__()
        self.semantic = VoxelHead(inputs, classes)
        self.offset = VoxelHead(inputs, 3)
        self.embedding = VoxelHead(inputs, embedding)

    def forward(self, features: Tensor) -> VoxelAnswers:
        semantic = F.log_softmax(self.semantic(features), 1)
        return VoxelAnswers(semantic, self.offset(features), self.embedding(features))


class ScoreNet(nn.Module):
    """How good each proposal is: its voxels as a cloud of their own through a small U-Net, their maximum, one number
    (Jiang et al., PointGroup, CVPR 2020, section 4.4)."""

    def __init__(self, inputs: int, downs: tuple[Level, ...], ups: tuple[Level, ...]) -> None:
        super().__init__()
        self.unet = MinkowskiUNet(inputs, downs, ups)
        self.out = Linear(self.unet.channels, 1)

    def forward(self, x: SparseTensor, proposals: Proposals) -> Tensor:
        """Logits (P,) of P proposals on the voxels ``x``."""
        inside = self.unet(proposal_tensor(x, proposals))
        return self.logits(inside, proposals.number)

    def logits(self, inside: SparseTensor, number: int) -> Tensor:
        cluster = inside.coordinates[:, :1].long().expand(-1, inside.channels)
        lowest = inside.features.new_full((number, inside.channels), -torch.inf)
        pooled = lowest.scatter_reduce(0, cluster, inside.features, "amax", include_self=False)
        answer: Tensor = self.out(pooled)[:, 0]
        return answer


def proposal_tensor(x: SparseTensor, proposals: Proposals) -> SparseTensor:
    """The voxels of every proposal as a sample of its own, in MinkowskiEngine's way of batches."""
    rows = proposals.rows.to(x.features.device)
    cluster = proposals.cluster.to(x.coordinates)
    coordinates = torch.cat([cluster[:, None], x.coordinates[rows, 1:]], 1)
    return SparseTensor.of(x.features[rows], coordinates, x.sites.spatial_shape, proposals.number)
