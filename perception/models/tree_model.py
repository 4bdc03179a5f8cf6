"""What models of individual trees share: points with their height in the file, voxels of one point each, results."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.losses.trees import TreeTruth
from perception.models.model import Model
from perception.points import PointBatch, PointCloud
from perception.results import TreeInstances
from perception.sparse import SparseTensor

HEIGHT = "height_in_file"
"""Field of a cloud: height above the lowest point of the file that it was cut from."""


@dataclass(frozen=True, eq=False)
class TreeVoxels:
    """``tensor``: features (M, C) of the voxels. ``xyz`` (M, 3) metres, the point that stands for each voxel, in the
    frame of ``centres`` (B, 3); ``chosen`` (M,) that point's row among all, ``voxel`` (N,) the voxel of each point.
    ``sizes``: points of each cloud."""

    tensor: SparseTensor
    xyz: Tensor
    chosen: Tensor
    voxel: Tensor
    sizes: list[int]

    @property
    def sample(self) -> Tensor:
        """The cloud (M,) of each voxel."""
        return self.tensor.coordinates[:, 0].long()

    def truth(self, truths: Sequence[TreeTruth]) -> tuple[Tensor, Tensor]:
        """``tree_id`` and ``semantic`` (M,) of the points that stand for the voxels."""
        found = [len(truth.tree_id) for truth in truths]
        if found != self.sizes:
            raise PerceptionError(f"truths of {found} points", f"one a cloud: {self.sizes} points")
        if not truths:
            return self.chosen, self.chosen
        ids = torch.cat([truth.tree_id for truth in truths]).to(self.chosen.device)
        semantic = torch.cat([truth.semantic for truth in truths]).to(self.chosen.device)
        return ids[self.chosen].long(), semantic[self.chosen].long()


class TreeModel(Model):
    """A model whose results are ``TreeInstances`` and whose loss takes a ``TreeTruth`` a cloud."""

    task = "trees"
    learns_feet: ClassVar[bool] = False
    """Whether its loss wants to know where trees stand (``TreeTruth.base``)."""

    @property
    def classes(self) -> tuple[str, ...]:
        return ("other", "tree")

    def points(self, clouds: Sequence[PointCloud]) -> PointBatch:
        """Columns x y z and the height in the file; a cloud without that field is taken to be a whole file."""
        return PointBatch.from_clouds([_with_height(cloud) for cloud in clouds], (HEIGHT,), self.device)

    def at_epoch(self, epoch: int) -> None:
        """Tells the epoch of training, counted from 1, to models that learn one thing after another."""

    @abstractmethod
    def results(self, predictions: Any) -> list[TreeInstances]: ...

    def loss(self, predictions: Any, truths: Sequence[TreeTruth]) -> dict[str, Tensor]:  # type: ignore[override]
        """``loss`` and its parts."""
        raise NotImplementedError


def _with_height(cloud: PointCloud) -> PointCloud:
    if HEIGHT in cloud.fields:
        return cloud
    z = cloud.xyz[:, 2]
    return replace(cloud, fields={**cloud.fields, HEIGHT: z - z.min() if len(z) else z})


def means_of(points: PointBatch) -> Tensor:
    """Mean point (B, 3) of each cloud, summed in float64 so that the order of points does not show."""
    sums = torch.zeros((points.batch_size, 3), dtype=torch.float64, device=points.xyz.device)
    sums.index_add_(0, points.sample, points.xyz.double())
    counts = torch.bincount(points.sample, minlength=points.batch_size).clamp(min=1)
    return sums / counts[:, None]


def sites_of(cells: Tensor, sample: Tensor, multiple: int, batch_size: int) -> tuple[Tensor, tuple[int, ...]]:
    """Coordinates (N, 4) batch z y x of integer x y z ``cells``, none negative, and the grid that holds them.

    Cells move by a multiple of the coarsest grid's cell: a strided layer in MinkowskiEngine's dialect would see any
    other shift.
    """
    low = torch.zeros((batch_size, 3), dtype=cells.dtype, device=cells.device)
    low = low.scatter_reduce(0, sample[:, None].expand(-1, 3), cells, "amin", include_self=False)
    moved = cells - torch.div(low, multiple, rounding_mode="floor")[sample] * multiple
    high = moved.amax(0) if len(moved) else moved.new_zeros(3)
    shape = [int(n) // multiple * multiple + multiple for n in high.tolist()]
    return torch.cat([sample[:, None], moved.flip(1)], 1), tuple(reversed(shape))


def nearest_to_centre(keys: Tensor, away: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Of each distinct key the row nearest to its cell's middle, keys ascending, and the place (N,) of each row's key.

    ``away`` (N,): squared distance to the middle; equal ones are told apart by ``values`` (N, C), never by their order.
    """
    distinct, cell = keys.unique(return_inverse=True)
    least = away.new_full((len(distinct),), torch.inf).scatter_reduce(0, cell, away, "amin")
    tied = (away == least[cell]).nonzero()[:, 0]
    if len(tied) > len(distinct):
        for column in range(values.shape[1]):  # stable sorts from the least significant column up
            tied = tied[values[tied, column].sort(stable=True).indices]
    tied = tied[cell[tied].sort(stable=True).indices]
    first = torch.ones(len(tied), dtype=torch.bool, device=tied.device)
    first[1:] = cell[tied][1:] != cell[tied][:-1]
    return tied[first], cell


def last_at_random(cell: Tensor, seed: int) -> Tensor:
    """As published: of each cell the last row of a shuffle; the answer depends on ``seed`` and on the rows' order."""
    order = torch.randperm(len(cell), generator=torch.Generator().manual_seed(seed)).to(cell.device)
    number = int(cell.max()) + 1 if len(cell) else 0
    place = torch.full((number,), -1, dtype=torch.int64, device=cell.device)
    place = place.scatter_reduce(0, cell[order], torch.arange(len(cell), device=cell.device), "amax")
    return order[place]


def to_points(values: np.ndarray, voxels: TreeVoxels) -> list[Tensor]:
    """Values of voxels, as one tensor for the points of each cloud."""
    return list(torch.from_numpy(values)[voxels.voxel.cpu()].split(voxels.sizes))
