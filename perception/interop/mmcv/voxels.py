"""mmcv's operators on voxels, by its names and with its arguments; results are written into what the caller made.

Cells are z y x here as there. ``voxel_size`` (3,) and ``coors_range`` (6,) are x y z, metres.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.points import PointBatch
from perception.sparse.scatter import scatter_max, scatter_mean, scatter_min, scatter_sum
from perception.sparse.voxelise import VoxelGrid, hard_voxelise


def hard_voxelize_forward(
    points: Tensor,
    voxel_size: Tensor,
    coors_range: Tensor,
    voxels: Tensor,
    coors: Tensor,
    num_points_per_voxel: Tensor,
    voxel_num: Tensor,
    max_points: int,
    max_voxels: int,
    NDim: int = 3,
    deterministic: bool = True,
) -> None:
    """Fill ``voxels`` (max_voxels, max_points, C), their cells and counts, and how many there are; always the same."""
    values = points.detach().float().contiguous()
    batch = PointBatch(values, torch.zeros(len(values), dtype=torch.int64, device=values.device), 1)
    found = hard_voxelise(batch, _grid(voxel_size, coors_range), max_points, max_voxels)
    number = len(found.counts)
    voxels[:number] = found.points
    coors[:number] = found.coordinates[:, 1:]
    num_points_per_voxel[:number] = found.counts
    voxel_num.fill_(number)


def dynamic_voxelize_forward(
    points: Tensor, voxel_size: Tensor, coors_range: Tensor, coors: Tensor, NDim: int = 3
) -> None:
    """The cell of each point (N, 3), -1 for points out of range."""
    cell, inside = _grid(voxel_size, coors_range).cells(points[:, :3].detach().float())
    coors.copy_(torch.where(inside[:, None], cell, -1))


def dynamic_point_to_voxel_forward(feats: Tensor, coors: Tensor, reduce_type: str) -> list[Tensor]:
    """Features (M, C) and cells (M, d) of the voxels in ascending order, each point's voxel or -1 (N,), counts (M,).

    ``reduce_type`` is max, sum or mean; points with a negative coordinate are left out.
    """
    inside = (coors >= 0).all(1)
    cells, voxel = torch.unique(coors[inside], dim=0, return_inverse=True)
    reduced = _reduce(reduce_type)(feats[inside], voxel, len(cells))
    rows = torch.full((len(coors),), -1, dtype=torch.int32, device=coors.device)
    rows[inside] = voxel.int()
    counts = torch.bincount(voxel, minlength=len(cells)).int()
    return [reduced, cells.to(coors.dtype), rows, counts]


def dynamic_point_to_voxel_backward(
    grad_feats: Tensor,
    grad_reduced_feats: Tensor,
    feats: Tensor,
    reduced_feats: Tensor,
    coors_idx: Tensor,
    reduce_count: Tensor,
    reduce_type: str,
) -> None:
    """Gradients of the points; of a maximum all goes to the first point that holds it."""
    inside = coors_idx >= 0
    voxel = coors_idx[inside].long()
    with torch.enable_grad():
        leaf = feats[inside].detach().requires_grad_()
        reduced = _reduce(reduce_type)(leaf, voxel, len(reduced_feats))
        (gradient,) = torch.autograd.grad(reduced, leaf, grad_reduced_feats)
    grad_feats.zero_()
    grad_feats[inside] = gradient


_REDUCTIONS = {"max": scatter_max, "mean": scatter_mean, "sum": scatter_sum, "min": scatter_min}


def _reduce(name: str) -> Callable[[Tensor, Tensor, int], Tensor]:
    if name not in _REDUCTIONS:
        raise PerceptionError(f"points reduced by {name!r}", f"one of {', '.join(_REDUCTIONS)}")
    return _REDUCTIONS[name]


def _grid(voxel_size: Tensor, coors_range: Tensor) -> VoxelGrid:
    low_x, low_y, low_z, high_x, high_y, high_z = coors_range.tolist()
    x, y, z = voxel_size.tolist()
    return VoxelGrid((low_x, low_y, low_z, high_x, high_y, high_z), (x, y, z))
