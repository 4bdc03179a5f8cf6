"""Losses of tree models: semantic, offset, embedding and score, and what they compare with.

Offset and score: PointGroup (Jiang et al., CVPR 2020, equations 2, 3 and 6). Embedding: De Brabandere et al. (2017),
with L1 distances as SegmentAnyTree's training takes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from perception.trees.proposals import Proposals

IGNORED = -1
TREE = 1


@dataclass(frozen=True, eq=False)
class TreeTruth:
    """What is known of the points of one cloud: ``tree_id`` (N,) 0 for no tree, ``semantic`` (N,) 0 for other things,
    1 for trees, -1 for not known. ``base`` (N, 3), where it is known, the foot of each point's tree in the cloud's
    frame: a crop can leave it out."""

    tree_id: Tensor
    semantic: Tensor
    base: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Instances:
    """``number`` trees of a batch: the tree (M,) of each row from 0, -1 for none, and the sample (T,) of each tree."""

    of_row: Tensor
    sample: Tensor

    @property
    def number(self) -> int:
        return len(self.sample)

    @classmethod
    def of(cls, tree_id: Tensor, semantic: Tensor, sample: Tensor) -> Instances:
        """Trees are those rows that are known to be of one; ids count within their sample."""
        rows = ((tree_id > 0) & (semantic == TREE)).nonzero()[:, 0]
        pairs = torch.stack([sample[rows], tree_id[rows].long()], 1)
        found, inverse = pairs.unique(dim=0, return_inverse=True)
        of_row = torch.full_like(sample, -1)
        of_row[rows] = inverse
        return cls(of_row, found[:, 0])


def box_centres(xyz: Tensor, instances: Instances) -> Tensor:
    """Middles (T, 3) of the axis-aligned boxes around the rows of each tree."""
    rows = (instances.of_row >= 0).nonzero()[:, 0]
    place = instances.of_row[rows][:, None].expand(-1, 3)
    shape = (instances.number, 3)
    low = xyz.new_full(shape, torch.inf).scatter_reduce(0, place, xyz[rows], "amin")
    high = xyz.new_full(shape, -torch.inf).scatter_reduce(0, place, xyz[rows], "amax")
    return (low + high) / 2


def semantic_loss(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood over the rows (M,) that are known."""
    known = labels != IGNORED
    if not known.any():
        return log_probabilities.sum() * 0
    return F.nll_loss(log_probabilities[known], labels[known].long())


def offset_losses(offset: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Mean L1 distance of ``offset`` and ``target`` (M, 3), and mean negative cosine between them."""
    if not len(offset):
        return offset.sum() * 0, offset.sum() * 0
    distance = (offset - target).abs().sum(1).mean()
    unit, wanted = (vectors / (vectors.norm(dim=1, keepdim=True) + 1e-8) for vectors in (offset, target))
    return distance, -(unit * wanted).sum(1).mean()


def discriminative_loss(
    embedding: Tensor, instances: Instances, pull: float = 0.5, push: float = 1.5, regular: float = 1e-3
) -> Tensor:
    """Rows of a tree within ``pull`` of their mean, means of two trees of a sample beyond twice ``push``; L1 distances.

    The mean over the samples that have a tree.
    """
    if not instances.number:
        return embedding.sum() * 0
    rows = (instances.of_row >= 0).nonzero()[:, 0]
    tree, inside = instances.of_row[rows], embedding[rows]
    counts = torch.bincount(tree, minlength=instances.number)
    means = inside.new_zeros(instances.number, inside.shape[1]).index_add(0, tree, inside) / counts[:, None]
    stray = F.relu((inside - means[tree]).abs().sum(1) - pull) ** 2
    pulls = stray.new_zeros(instances.number).index_add(0, tree, stray) / counts
    samples, number = instances.sample.unique(return_counts=True)
    total = embedding.new_zeros(())
    for sample, trees in zip(samples, number):
        chosen = instances.sample == sample
        total = total + pulls[chosen].mean() + regular * means[chosen].abs().sum(1).mean()
        if trees > 1:
            apart = (means[chosen][:, None] - means[chosen][None]).abs().sum(2)
            near = F.relu(2 * push - apart) ** 2
            total = total + (near.sum() - near.diagonal().sum()) / (trees * (trees - 1))
    return total / len(samples)


def proposal_overlaps(proposals: Proposals, instances: Instances) -> Tensor:
    """The best intersection over union (P,) of each proposal with a tree."""
    of_row = instances.of_row.cpu()
    best = torch.zeros(proposals.number)
    if not proposals.number or not instances.number:
        return best
    tree = of_row[proposals.rows]
    hit = tree >= 0
    pairs, shared = torch.unique(proposals.cluster[hit] * instances.number + tree[hit], return_counts=True)
    cluster, tree = pairs // instances.number, pairs % instances.number
    sizes = torch.bincount(of_row[of_row >= 0], minlength=instances.number)
    overlap = shared / (proposals.sizes[cluster] + sizes[tree] - shared)
    return best.scatter_reduce(0, cluster, overlap.float(), "amax")


def score_loss(logits: Tensor, overlaps: Tensor, low: float = 0.25, high: float = 0.75) -> Tensor:
    """Cross entropy with 0 for overlaps under ``low``, 1 from ``high`` on and a line between."""
    if not len(logits):
        return logits.sum() * 0
    target = ((overlaps - low) / (high - low)).clamp(0, 1).to(logits)
    return F.binary_cross_entropy_with_logits(logits, target)
