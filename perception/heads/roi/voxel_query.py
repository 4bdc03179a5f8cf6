"""Voxel query: the occupied cells around a point, found through the grid (Deng et al. 2021, section 3.2)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from perception.compiled import compiled
from perception.heads.roi.neighbours import Neighbours, first_of
from perception.sparse import Sites
from perception.threads import fair, run_shares

# Queries looked at together in the plain form: with a reach of 4 each has 729 cells.
CHUNK = 4096


def voxel_query(
    sites: Sites, centres: Tensor, points: Tensor, cells: Tensor, reach: int, radius: float, slots: int
) -> Neighbours:
    """The first ``slots`` occupied cells, in the order z y x, near each point.

    Near is within ``reach`` cells of the point's own cell on every axis, and with a centre no further than ``radius``
    metres. ``centres`` (N, 3) x y z of the sites; ``points`` (Q, 3) and their ``cells`` (Q, 4) batch z y x, which may
    lie outside the grid.
    """
    if points.device.type != "cpu":
        return plain_voxel_query(sites, centres, points, cells, reach, radius, slots)
    keys, order = sites.sorted_keys
    depth, height, width = sites.spatial_shape
    pencils = torch.arange(sites.batch_size * depth * height + 1) * width
    starts = torch.searchsorted(keys, pencils)
    rows = np.zeros((len(points), slots), np.int64)
    counts = np.zeros(len(points), np.int64)
    inputs = (keys, order, starts, centres.float(), points.float(), cells.long())
    arrays = tuple(np.ascontiguousarray(tensor.detach().numpy()) for tensor in inputs)
    limit = np.float32(radius) * np.float32(radius)
    shares = fair(np.ones(len(points)), 2**11)
    run_shares(_query, [(*arrays, (depth, height, width), reach, limit, rows, counts, *share) for share in shares])
    return Neighbours(torch.from_numpy(rows), torch.from_numpy(counts))


def plain_voxel_query(
    sites: Sites, centres: Tensor, points: Tensor, cells: Tensor, reach: int, radius: float, slots: int
) -> Neighbours:
    """``voxel_query`` by looking up every cell in reach, on any device."""
    steps = torch.arange(-reach, reach + 1, device=points.device)
    offsets = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), -1).view(-1, 3)
    offsets = torch.cat([torch.zeros_like(offsets[:, :1]), offsets], 1)
    limit = torch.tensor(radius, dtype=torch.float32) ** 2
    found = []
    for chunk in range(0, len(points), CHUNK):
        here = slice(chunk, chunk + CHUNK)
        wanted = cells[here, None].long() + offsets
        rows = sites.find(wanted.flatten(0, 1)).view(-1, len(offsets))
        if len(centres):
            distance = squared_distance(centres[rows.clamp(min=0)].float(), points[here, None].float())
        else:
            distance = torch.full(rows.shape, torch.inf, device=points.device)
        found.append(first_of((rows >= 0) & (distance <= limit.to(distance.device)), rows, slots))
    if not found:
        nothing = torch.zeros((0, slots), dtype=torch.int64, device=points.device)
        return Neighbours(nothing, nothing[:, 0])
    return Neighbours(torch.cat([part.rows for part in found]), torch.cat([part.counts for part in found]))


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """Of points (..., 3), summed in the order x y z, as the compiled loops do: the same bits, so the same ties."""
    x, y, z = (a - b).unbind(-1)
    return x * x + y * y + z * z


@compiled
def _query(
    keys: np.ndarray,
    order: np.ndarray,
    starts: np.ndarray,
    centres: np.ndarray,
    points: np.ndarray,
    cells: np.ndarray,
    shape: tuple[int, int, int],
    reach: int,
    limit: np.float32,
    rows: np.ndarray,
    counts: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Cells with the same z and y follow each other in ``keys``, from ``starts`` on: each such run is one look."""
    depth, height, width = shape
    slots = rows.shape[1]
    for q in range(first, last):
        batch, z, y, x = cells[q, 0], cells[q, 1], cells[q, 2], cells[q, 3]
        low, high = max(x - reach, 0), min(x + reach, width - 1)
        number = 0
        for layer in range(max(z - reach, 0), min(z + reach, depth - 1) + 1):
            for line in range(max(y - reach, 0), min(y + reach, height - 1) + 1):
                pencil = (batch * depth + layer) * height + line
                place, end = starts[pencil], starts[pencil + 1]
                if place == end or low > high:
                    continue
                place += np.searchsorted(keys[place:end], pencil * width + low)
                while place < end and keys[place] <= pencil * width + high and number < slots:
                    row = order[place]
                    dx = centres[row, 0] - points[q, 0]
                    dy = centres[row, 1] - points[q, 1]
                    dz = centres[row, 2] - points[q, 2]
                    if dx * dx + dy * dy + dz * dz <= limit:
                        rows[q, number] = row
                        number += 1
                    place += 1
        counts[q] = number
        for slot in range(number, slots):
            rows[q, slot] = rows[q, 0]
