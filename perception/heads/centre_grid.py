"""The cells of a centre head's map, and boxes as the values that it predicts in a cell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perception.sparse import VoxelGrid


@dataclass(frozen=True)
class CentreGrid:
    """``low`` x y of the map's first corner, ``voxel`` x y, metres; ``stride`` voxels a cell along both axes."""

    low: tuple[float, float]
    voxel: tuple[float, float]
    stride: int

    @classmethod
    def of(cls, grid: VoxelGrid, stride: int) -> CentreGrid:
        return cls(grid.point_range[:2], grid.voxel_size[:2], stride)

    def to_cells(self, xy: Tensor) -> Tensor:
        """Positions (N, 2) in cells, not rounded, of positions in metres."""
        return self.to_lengths(xy - xy.new_tensor(self.low))

    def to_lengths(self, lengths: Tensor) -> Tensor:
        """Lengths (N, 2) in cells of lengths in metres."""
        return lengths / lengths.new_tensor(self.voxel) / self.stride

    def to_metres(self, cells: Tensor) -> Tensor:
        """Positions (..., 2) in metres of positions in cells."""
        return cells * self.stride * cells.new_tensor(self.voxel) + cells.new_tensor(self.low)


def decode(cells: Tensor, values: Tensor, grid: CentreGrid, log_limit: float | None = None) -> Tensor:
    """Boxes (..., 7), or (..., 9) with velocities, of the values (..., 8 to 11) predicted in ``cells`` (..., 2) x y.

    Values are offset (2), z, log of the sizes (3), heading, velocity (2 or none). A heading is its cosine and sine, or
    cosine and sine of its double, an axis, and a number that is negative where the heading looks towards -x.
    ``log_limit`` bounds the logarithms, for losses that early predictions must not blow up.
    """
    sizes = values[..., 3:6] if log_limit is None else values[..., 3:6].clamp(-log_limit, log_limit)
    heading, velocity = torch.atan2(values[..., 7:8], values[..., 6:7]), 8 + axes(values)
    if axes(values):
        heading = heading / 2 + torch.pi * (values[..., 8:9] < 0).to(values.dtype)
    centre = grid.to_metres(cells + values[..., :2])
    return torch.cat([centre, values[..., 2:3], sizes.exp(), heading, values[..., velocity:]], -1)


def axes(values: Tensor) -> int:
    """1 for values whose headings are an axis and a side, 0 for cosines and sines."""
    return values.shape[-1] % 2
