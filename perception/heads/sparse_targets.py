"""What a sparse centre head should answer in each voxel (Chen et al. 2023, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perception.heads.centre_targets import CentreObjects, regression_values
from perception.sparse import Sites


@dataclass(frozen=True, eq=False)
class SparseTargets:
    """``heatmap`` (N, C) of all rows; for each of M objects the ``row`` (M,) of the voxel that answers for it, its
    ``values`` (M, 8 or 10) and its ``boxes`` (M, 7). ``objects`` (M,) are the rows of the objects given."""

    heatmap: Tensor
    row: Tensor
    values: Tensor
    boxes: Tensor
    objects: Tensor


def sparse_targets(objects: CentreObjects, classes: int, sites: Sites) -> SparseTargets:
    """Each object belongs to the voxel nearest to its centre, the first of equals; (y, x) ``sites`` in row order.

    A Gaussian around the centre and one around that voxel, which is then 1, make the heatmap; they have no end.
    Objects in samples without voxels are left out.
    """
    heatmap = objects.position.new_zeros((classes, len(sites)))
    nearest = torch.full_like(objects.sample, -1)
    first = 0
    for sample, count in enumerate(sites.rows_per_sample.tolist()):
        mine = (objects.sample == sample).nonzero()[:, 0]
        place = sites.coordinates[first : first + count][:, [2, 1]].float()
        if len(mine) and count:
            distance = _squared_distance(objects.position[mine], place)
            chosen = distance.argmin(1)
            distance = torch.minimum(distance, _squared_distance(place[chosen], place))
            deviation = (2 * objects.radius[mine] + 1).float() / 6
            value = torch.exp(-distance / (2 * deviation**2)[:, None])
            group = objects.label[mine][:, None].expand_as(value)
            heatmap[:, first : first + count].scatter_reduce_(0, group, value, "amax")
            nearest[mine] = chosen + first
        first += count
    kept = (nearest >= 0).nonzero()[:, 0]
    row, boxes = nearest[kept], objects.boxes[kept]
    values = regression_values(boxes, objects.position[kept] - sites.coordinates[row][:, [2, 1]])
    return SparseTargets(heatmap.T, row, values, boxes[:, :7], kept)


def _squared_distance(points: Tensor, places: Tensor) -> Tensor:
    """(M, 2) and (N, 2) to (M, N); exact where both are whole numbers."""
    return (points[:, None, 0] - places[None, :, 0]) ** 2 + (points[:, None, 1] - places[None, :, 1]) ** 2
