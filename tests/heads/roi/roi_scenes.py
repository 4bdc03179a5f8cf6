"""Random points, voxels and queries that the tests of second stages share."""

from __future__ import annotations

import torch
from torch import Tensor

from perception.points import PointBatch
from perception.sparse import Sites, SparseTensor, VoxelGrid

GRID = VoxelGrid((0.0, -5.0, -1.0, 9.0, 5.0, 1.0), (0.1, 0.1, 0.2))


def points(counts: list[int], features: int = 1, low: float = 0.0, high: float = 8.0) -> PointBatch:
    """Points in a flat box, so many in each sample."""
    sample = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    xyz = low + (high - low) * torch.rand(len(sample), 3) * torch.tensor([1.0, 1.0, 0.3])
    return PointBatch(torch.cat([xyz, torch.randn(len(sample), features)], 1), sample, len(counts))


def stage(cells: int, batch_size: int = 2, channels: int = 5, stride: int = 1) -> SparseTensor:
    """A stage of a backbone on ``GRID`` made coarser by ``stride``, with up to so many cells."""
    shape = tuple(-(-size // stride) for size in GRID.shape)
    limits = torch.tensor([batch_size, *shape])
    coordinates = (torch.rand(cells, 4) * limits).long().unique(dim=0).int().view(-1, 4)
    sites = Sites.of(coordinates, shape, batch_size, (stride,) * 3)
    return SparseTensor(torch.randn(len(coordinates), channels), sites)


def boxes(count: int) -> Tensor:
    """(count, 7) inside ``GRID``."""
    centre = torch.rand(count, 3) * torch.tensor([8.0, 8.0, 1.0]) - torch.tensor([0.0, 4.0, 0.5])
    return torch.cat([centre, 0.5 + 3 * torch.rand(count, 3), 7 * torch.rand(count, 1) - 3.5], 1)
