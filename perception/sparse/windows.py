"""Windows: sites grouped by the axis-aligned box they lie in, for attention among the cells of a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.sparse.conv import Size, axes
from perception.sparse.sites import Sites, linear_keys

Origin = Literal["grid", "lowest in batch", "lowest in sample"]

# A bucket narrower than this saves no work that is worth a call of its own.
NARROWEST_BUCKET = 16


@dataclass(frozen=True, eq=False)
class Windows:
    """The partition of N sites into W windows that hold at least one of them.

    ``window`` (N,) int64: the window of each row; windows are numbered in lexicographic order of (batch, z, y, x).
    ``cell`` (N, d) int64: place of each row inside its window, z y x. ``order`` (N,) int64: the rows window by window,
    in each window as they came; those of window w are ``order[offsets[w]:offsets[w + 1]]``, ``offsets`` (W + 1,) int64.
    ``size``: cells of a window along z y x.
    """

    window: Tensor
    cell: Tensor
    order: Tensor
    offsets: Tensor
    size: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def counts(self) -> Tensor:
        """Rows of each window, (W,) int64."""
        return self.offsets.diff()


def partition(sites: Sites, size: Size, shift: Size = 0, origin: Origin = "grid") -> Windows:
    """Windows of ``size`` cells; a cell c lies in window floor((c - origin + shift) / size) on each axis, z y x.

    Origin ``grid`` is cell 0 (DSVT, Wang et al. 2023; Swin, Liu et al. 2021). ``lowest in batch`` is the smallest
    coordinate present on each axis in any sample, as SparseTransformer (Lai et al. 2022) and so VoxelKP's published
    weights have it: a sample's windows then depend on its batch. ``lowest in sample`` is the repaired form.
    Raises PerceptionError unless 0 <= shift < size.
    """
    sizes, shifts = axes(size, sites.dimension), axes(shift, sites.dimension)
    if any(not 0 <= s < w for s, w in zip(shifts, sizes)):
        raise PerceptionError(f"windows of {sizes} cells shifted by {shifts}", "0 <= shift < size on every axis")
    moved = sites.coordinates[:, 1:].long() - _origin(sites, origin)
    moved += moved.new_tensor(shifts)
    grid = [(n - 1 + s) // w + 1 for n, s, w in zip(sites.spatial_shape, shifts, sizes)]
    steps = moved.new_tensor(sizes)
    boxes = torch.div(moved, steps, rounding_mode="floor")
    keys = linear_keys(torch.cat([sites.coordinates[:, :1].long(), boxes], 1), grid, sites.batch_size)
    distinct, window, counts = keys.unique(return_inverse=True, return_counts=True)
    offsets = counts.new_zeros(len(distinct) + 1)
    offsets[1:] = counts.cumsum(0)
    return Windows(window, moved - boxes * steps, window.sort(stable=True).indices, offsets, sizes)


def _origin(sites: Sites, origin: Origin) -> Tensor:
    coordinates = sites.coordinates.long()
    zero = coordinates.new_zeros((1, sites.dimension))
    if origin == "grid" or not len(sites):
        return zero
    if origin == "lowest in batch":
        return coordinates[:, 1:].amin(0, keepdim=True)
    if origin == "lowest in sample":
        sample = coordinates[:, :1].expand(-1, sites.dimension)
        lowest = zero.expand(sites.batch_size, -1)
        return lowest.scatter_reduce(0, sample, coordinates[:, 1:], "amin", include_self=False)[coordinates[:, 0]]
    raise PerceptionError(f"the origin {origin!r}", "'grid', 'lowest in batch' or 'lowest in sample'")


@dataclass(frozen=True, eq=False)
class Bucket:
    """Windows of similar size: ``windows`` (B,) int64 which, ``rows`` (B, L) int64 their rows, -1 where padded."""

    windows: Tensor
    rows: Tensor

    @cached_property
    def filled(self) -> Tensor:
        """(B, L) bool, True where there is a row: the mask of scaled_dot_product_attention's keys."""
        return self.rows >= 0

    def take(self, features: Tensor) -> Tensor:
        """Features (N, C) of the bucket's rows: (B, L, C), zero where padded."""
        padded = features.new_zeros((self.rows.numel(), features.shape[1]))
        places = self.filled.flatten().nonzero()[:, 0]
        taken = features.index_select(0, self.rows[self.filled])
        return padded.index_copy(0, places, taken).view(*self.rows.shape, features.shape[1])


@dataclass(frozen=True, eq=False)
class Buckets:
    """All windows, padded to a few lengths. ``slot`` (N,) int64: place of each row in the slots of all buckets."""

    buckets: tuple[Bucket, ...]
    slot: Tensor

    def take(self, features: Tensor) -> list[Tensor]:
        """Features (N, C) as one (B, L, C) for each bucket, zero where padded."""
        return [bucket.take(features) for bucket in self.buckets]

    def put_back(self, values: Sequence[Tensor]) -> Tensor:
        """The inverse of ``take``: one (B, L, C) for each bucket -> (N, C)."""
        shapes = [tuple(bucket.rows.shape) for bucket in self.buckets]
        if [tuple(value.shape[:2]) for value in values] != shapes:
            found = [tuple(value.shape) for value in values]
            raise PerceptionError(f"values of the shapes {found}", f"(windows, slots, channels) with {shapes}")
        # No row is in two slots, so the gradient has no sums whose order could change.
        return torch.cat([value.flatten(0, 1) for value in values]).index_select(0, self.slot)


def pad(windows: Windows, lengths: Sequence[int] | None = None) -> Buckets:
    """Windows sorted into buckets by size, each window in the shortest of ``lengths`` that holds it.

    Without ``lengths`` they are powers of two from 16 to the largest window: less than half of the slots is padding in
    windows of more than 16 rows. Buckets without windows are left out, but there is always one. Raises PerceptionError
    for a window that is larger than every length.
    """
    largest = int(windows.counts.max()) if len(windows) else 0
    bounds = sorted(lengths) if lengths is not None else _doubling(largest)
    if not bounds or bounds[0] < 1 or bounds[-1] < largest:
        raise PerceptionError(
            f"a window of {largest} rows and buckets of the lengths {bounds}",
            "positive lengths, one of them at least that of the largest window",
        )
    kind = torch.bucketize(windows.counts, windows.counts.new_tensor(bounds))
    slot, before, buckets = torch.empty_like(windows.order), 0, []
    for number, length in enumerate(bounds):
        chosen = (kind == number).nonzero()[:, 0]
        if len(chosen):
            place = torch.arange(length, device=chosen.device)
            filled = place < windows.counts[chosen, None]
            position = windows.offsets[chosen, None] + place
            rows = torch.where(filled, windows.order[position.clamp(max=len(windows.order) - 1)], -1)
            slot[rows[filled]] = before + filled.flatten().nonzero()[:, 0]
            before += rows.numel()
            buckets.append(Bucket(chosen, rows))
    if not buckets:  # so that values without rows still have channels when they come back
        buckets.append(Bucket(windows.order[:0], windows.order.new_empty((0, bounds[0]))))
    return Buckets(tuple(buckets), slot)


def _doubling(largest: int) -> list[int]:
    bounds = [NARROWEST_BUCKET]
    while bounds[-1] < largest:
        bounds.append(bounds[-1] * 2)
    return bounds
