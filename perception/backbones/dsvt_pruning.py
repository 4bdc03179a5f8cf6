"""Sets of voxels with weak activations left out of attention in use, as SparseViT leaves out windows (CVPR 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from perception.sparse import VoxelSets


def strongest_sets(features: Tensor, sample: Tensor, sets: VoxelSets, axis: int, pruned: float) -> Tensor:
    """Mask (S,) of the sets of one partition that stay: all but the share ``pruned`` of each cloud, the weakest.

    A set is as strong as the mean L2 norm of the ``features`` (N, C) in its slots; ``sample`` (N,) is the cloud of each
    row. Clouds are judged each by itself, so that a batch gives what its clouds give alone; one set stays at least.
    """
    rows = sets.rows[axis]
    strength = features.detach().float().norm(dim=1)[rows].mean(1)
    owner = sample[rows[:, 0]].long()
    strongest = strength.argsort(descending=True, stable=True)
    order = strongest[owner[strongest].argsort(stable=True)]
    counts = torch.bincount(owner)
    rank = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[owner[order]]
    stays = torch.empty(len(rows), dtype=torch.bool, device=rows.device)
    stays[order] = rank < (counts - (counts * pruned).floor().long())[owner[order]].clamp(min=1)
    return stays


def only_sets(sets: VoxelSets, axis: int, stays: Tensor) -> tuple[Tensor, VoxelSets]:
    """The rows (M,) of the sets that stay, ascending, and these sets alone, as index 0, with rows counted anew."""
    rows, slot = sets.rows[axis], sets.slot[axis]
    size = rows.shape[1]
    owner = slot // size
    kept = stays[owner].nonzero()[:, 0]
    place = torch.empty_like(slot)
    place[kept] = torch.arange(len(kept), device=slot.device)
    number = stays.cumsum(0) - 1
    slots = number[owner[kept]] * size + slot[kept] % size
    return kept, VoxelSets(place[rows[stays]][None], sets.repeated[axis][stays][None], slots[None], sets.windows)
