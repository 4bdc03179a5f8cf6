"""Where the cells of sparse tensors lie in space."""

from __future__ import annotations

import torch
from torch import Tensor

from perception.sparse import Sites, VoxelGrid


def lowest_corners(sites: Sites, grid: VoxelGrid) -> Tensor:
    """x y z (N, 3) float32, metres, of the lowest corner of each cell; ``grid`` is that of the finest cells."""
    size = torch.tensor(grid.voxel_size, device=sites.device) * torch.tensor(sites.stride[::-1], device=sites.device)
    return sites.coordinates[:, [3, 2, 1]] * size + torch.tensor(grid.point_range[:3], device=sites.device)
