"""Ball query: the points within a radius (Qi et al. 2017, PointNet++, section 3.2)."""

from __future__ import annotations

import numpy as np
import torch

from perception.compiled import compiled
from perception.heads.roi.neighbours import Neighbours, first_of
from perception.heads.roi.voxel_query import squared_distance
from perception.points import PointBatch
from perception.threads import fair, run_shares

# Cells an axis at most; points spread further get larger cells.
CELLS = 512
# Distances held at once in the plain form.
DISTANCES = 2**24


def ball_query(points: PointBatch, queries: PointBatch, radius: float, slots: int) -> Neighbours:
    """The first ``slots`` points, in the order of their rows, nearer than ``radius`` metres to each query.

    Only points of the query's own sample count. On the CPU points are found through a grid of cells as wide as the
    radius.
    """
    if queries.values.device.type != "cpu":
        return plain_ball_query(points, queries, radius, slots)
    xyz = np.ascontiguousarray(points.xyz.detach().float().numpy())
    centres = np.ascontiguousarray(queries.xyz.detach().float().numpy())
    rows = np.zeros((len(centres), slots), np.int64)
    counts = np.zeros(len(centres), np.int64)
    if len(xyz) and len(centres):
        low = xyz[:, :2].min(0).astype(np.float64)
        extent = xyz[:, :2].max(0) - low
        # A little wider than the radius: rounding then never puts a point of the ball two cells away.
        width = np.maximum(radius * 1.001 + 1e-6, extent / (CELLS - 1))
        shape = (extent // width).astype(np.int64) + 1
        cells = ((xyz[:, :2] - low) // width).astype(np.int64)
        keys = (points.sample.numpy() * shape[1] + cells[:, 1]) * shape[0] + cells[:, 0]
        order = np.argsort(keys, kind="stable")
        starts = np.searchsorted(keys[order], np.arange(points.batch_size * shape[0] * shape[1] + 1))
        limit = np.float32(radius) * np.float32(radius)
        grid = (low, width, shape, starts, order)
        shares = fair(np.ones(len(centres)), 2**10)
        sample = queries.sample.numpy()
        run_shares(_query, [(xyz[order], *grid, centres, sample, limit, rows, counts, *share) for share in shares])
    return Neighbours(torch.from_numpy(rows), torch.from_numpy(counts))


def plain_ball_query(points: PointBatch, queries: PointBatch, radius: float, slots: int) -> Neighbours:
    """``ball_query`` from all distances, on any device."""
    limit = float(np.float32(radius) * np.float32(radius))
    device = queries.values.device
    rows = torch.arange(len(points.values), device=device)
    chunk = max(DISTANCES // max(len(rows), 1), 1)
    found = []
    for here in torch.arange(len(queries.values), device=device).split(chunk):
        distance = squared_distance(points.xyz.float(), queries.xyz[here, None].float())
        hits = (distance < limit) & (points.sample == queries.sample[here, None])
        found.append(first_of(hits, rows, slots))
    if not found:
        nothing = torch.zeros((0, slots), dtype=torch.int64, device=device)
        return Neighbours(nothing, nothing[:, 0])
    return Neighbours(torch.cat([part.rows for part in found]), torch.cat([part.counts for part in found]))


@compiled
def _query(
    xyz: np.ndarray,
    low: np.ndarray,
    width: np.ndarray,
    shape: np.ndarray,
    starts: np.ndarray,
    order: np.ndarray,
    centres: np.ndarray,
    sample: np.ndarray,
    limit: np.float32,
    rows: np.ndarray,
    counts: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Looks at the 3 x 3 cells around each query; ``xyz`` is sorted by cell and ``order`` gives the rows."""
    slots = rows.shape[1]
    for q in range(first, last):
        column = int(np.floor((centres[q, 0] - low[0]) / width[0]))
        line = int(np.floor((centres[q, 1] - low[1]) / width[1]))
        left, right = max(column - 1, 0), min(column + 1, shape[0] - 1)
        number = 0
        if left <= right:
            for y in range(max(line - 1, 0), min(line + 1, shape[1] - 1) + 1):
                base = (sample[q] * shape[1] + y) * shape[0]
                for place in range(starts[base + left], starts[base + right + 1]):
                    dx = xyz[place, 0] - centres[q, 0]
                    dy = xyz[place, 1] - centres[q, 1]
                    dz = xyz[place, 2] - centres[q, 2]
                    if dx * dx + dy * dy + dz * dz < limit:
                        number = _insert(rows[q], number, order[place])
        counts[q] = number
        for slot in range(number, slots):
            rows[q, slot] = rows[q, 0]


@compiled
def _insert(smallest: np.ndarray, number: int, row: int) -> int:
    """Put ``row`` into the ascending list of the smallest rows so far; its new length."""
    if number == len(smallest):
        if row > smallest[number - 1]:
            return number
        number -= 1
    place = number
    while place > 0 and smallest[place - 1] > row:
        smallest[place] = smallest[place - 1]
        place -= 1
    smallest[place] = row
    return number + 1
