"""Where the voxels are: an immutable set of integer coordinates that owns the neighbour tables computed for it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from perception.errors import PerceptionError

if TYPE_CHECKING:
    from perception.sparse.table import NeighbourTable


@dataclass(frozen=True, eq=False)
class Sites:
    """Occupied cells of a batch of grids.

    ``coordinates`` (N, 1 + d) int32: batch, then z y x (d = 3) or y x (d = 2). ``stride`` is the size of a cell of
    this grid in cells of the finest one. Rows in ``lexicographic`` order are ascending in (batch, z, y, x),
    those in ``morton`` order in their Morton keys.
    Coordinates are unique and inside ``spatial_shape``: make instances with ``Sites.of``, which checks it.
    """

    coordinates: Tensor
    spatial_shape: tuple[int, ...]
    batch_size: int
    stride: tuple[int, ...]
    order: Literal["lexicographic", "morton", "given"]
    tables: dict[Hashable, NeighbourTable] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        coordinates: Tensor,
        spatial_shape: Sequence[int],
        batch_size: int,
        stride: Sequence[int] | None = None,
    ) -> Sites:
        """Check coordinates and wrap them; raises PerceptionError for rows out of range or repeated."""
        shape = tuple(int(s) for s in spatial_shape)
        if coordinates.ndim != 2 or coordinates.shape[1] != 1 + len(shape):
            raise PerceptionError(
                f"coordinates of shape {tuple(coordinates.shape)} for a grid of {len(shape)} dimensions",
                f"(N, {1 + len(shape)}): batch index first, then {'z y x' if len(shape) == 3 else 'y x'}",
            )
        coordinates = coordinates.to(torch.int32).contiguous()
        _check_range(coordinates, shape, batch_size)
        keys = linear_keys(coordinates, shape, batch_size)
        steps = keys.diff()
        ascending = bool((steps > 0).all())
        if not ascending:
            ordered, rows = keys.sort(stable=True)
            repeated = (ordered.diff() == 0).nonzero()
            if len(repeated):
                first, second = rows[repeated[0, 0]].item(), rows[repeated[0, 0] + 1].item()
                raise PerceptionError(
                    f"{len(repeated)} repeated coordinates, first {coordinates[int(first)].tolist()} in rows "
                    f"{first} and {second}",
                    "each cell once",
                    "merge the points of a cell first (perception.sparse.voxelise does)",
                )
        strides = tuple(stride) if stride is not None else (1,) * len(shape)
        return cls(coordinates, shape, batch_size, strides, "lexicographic" if ascending else "given")

    def __len__(self) -> int:
        return len(self.coordinates)

    @property
    def dimension(self) -> int:
        return len(self.spatial_shape)

    @property
    def device(self) -> torch.device:
        return self.coordinates.device

    @cached_property
    def keys(self) -> Tensor:
        """(N,) int64, one number a cell, ascending in lexicographic order of the coordinates."""
        return linear_keys(self.coordinates, self.spatial_shape, self.batch_size)

    @cached_property
    def sorted_keys(self) -> tuple[Tensor, Tensor]:
        """The keys in ascending order and the row that each came from, both (N,) int64."""
        if self.order == "lexicographic":
            return self.keys, torch.arange(len(self), device=self.device)
        ordered, rows = self.keys.sort()
        return ordered, rows

    @cached_property
    def rows_per_sample(self) -> Tensor:
        """(batch_size,) int64."""
        return torch.bincount(self.coordinates[:, 0].long(), minlength=self.batch_size)

    def find(self, coordinates: Tensor) -> Tensor:
        """Row of each coordinate (M, 1 + d), or -1 where the cell is empty or outside the grid: (M,) int64."""
        wanted = coordinates.long()
        limits = wanted.new_tensor([self.batch_size, *self.spatial_shape])
        inside = ((wanted >= 0) & (wanted < limits)).all(1)
        ordered, rows = self.sorted_keys
        if not len(ordered):
            return wanted.new_full((len(wanted),), -1)
        keys = torch.where(inside, linear_keys(wanted, self.spatial_shape, self.batch_size), -1)
        position = torch.searchsorted(ordered, keys).clamp_(max=len(ordered) - 1)
        return torch.where(ordered[position] == keys, rows[position], -1)


def linear_keys(coordinates: Tensor, spatial_shape: Sequence[int], batch_size: int) -> Tensor:
    """Cells as numbers, (N,) int64: batch major, last axis fastest. Raises before a key could overflow."""
    check_cells(spatial_shape, batch_size)
    keys = coordinates[:, 0].long()
    for axis, size in enumerate(spatial_shape, start=1):
        keys = keys * size + coordinates[:, axis]
    return keys


def lexicographic_order(coordinates: Tensor) -> Tensor:
    """The rows in ascending order of their columns, the first column first: (N,) int64; equal rows keep their order."""
    if not len(coordinates):
        return coordinates.new_zeros(0, dtype=torch.int64)
    low, high = coordinates.amin(0).tolist(), coordinates.amax(0).tolist()
    spans = [int(b) - int(a) + 1 for a, b in zip(low, high)]
    if math.prod(spans) < 2**63:
        keys = coordinates[:, 0].long() - int(low[0])
        for axis in range(1, coordinates.shape[1]):
            keys = keys * spans[axis] + (coordinates[:, axis].long() - int(low[axis]))
        return keys.argsort(stable=True)
    order = torch.arange(len(coordinates), device=coordinates.device)
    for axis in reversed(range(coordinates.shape[1])):  # stable sorts from the least significant axis up
        order = order[coordinates[order, axis].sort(stable=True).indices]
    return order


def check_cells(spatial_shape: Sequence[int], batch_size: int) -> None:
    """Raise PerceptionError for grids with more cells than an int64 can number."""
    if batch_size * math.prod(spatial_shape) >= 2**63:
        raise PerceptionError(
            f"a grid of {batch_size} x {' x '.join(map(str, spatial_shape))} cells",
            "fewer than 2^63 cells",
            "use larger voxels or a smaller range",
        )


def coordinates_of(keys: Tensor, spatial_shape: Sequence[int]) -> Tensor:
    """The inverse of ``linear_keys``: (N, 1 + d) int32."""
    columns = []
    for size in reversed(spatial_shape):
        columns.append(keys % size)
        keys = torch.div(keys, size, rounding_mode="floor")
    return torch.stack([keys, *reversed(columns)], 1).to(torch.int32)


def _check_range(coordinates: Tensor, shape: tuple[int, ...], batch_size: int) -> None:
    if not len(coordinates):
        return
    limits = coordinates.new_tensor([batch_size, *shape])
    outside = ((coordinates < 0) | (coordinates >= limits)).any(1)
    if outside.any():
        row = int(outside.nonzero()[0, 0])
        raise PerceptionError(
            f"row {row} has the coordinates {coordinates[row].tolist()}",
            f"batch index below {batch_size} and cells inside 0 .. {[s - 1 for s in shape]}",
            "drop points outside the range before making voxels, or shift negative coordinates",
        )
