"""Mean shift with a flat kernel (Comaniciu & Meer, TPAMI 2002), seeded from bins: modes of a cloud of embeddings.

The answers are those of scikit-learn's MeanShift(bandwidth, bin_seeding=True), which SegmentAnyTree uses, but for
ties between modes of equally many points. Here the points are sorted into bins once, and a step passes over whole bins
whose boxes lie outside the ball and takes the sums of those that lie inside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from perception.compiled import compiled
from perception.threads import fair, run_shares

MOST_STEPS = 300
STILL = 1e-3  # of the bandwidth: a seed that moves less has arrived


@dataclass(frozen=True, eq=False)
class Modes:
    """``centres`` (K, d), those of most points first, and the nearest one of each point, ``labels`` (N,) int64."""

    centres: np.ndarray
    labels: np.ndarray


def mean_shift(points: np.ndarray, bandwidth: float) -> Modes:
    """Modes of ``points`` (N, d); every point belongs to the nearest."""
    points = np.ascontiguousarray(points, np.float64)
    if not len(points):
        return Modes(points, np.zeros(0, np.int64))
    seeds = seeds_of(points, bandwidth)
    bins = _Bins.of(points, bandwidth)
    ended, counts = seeds.copy(), np.zeros(len(seeds), np.int64)
    common = (ended, counts, bins.axis, *bins.arrays, bandwidth, MOST_STEPS)
    run_shares(_climb, [(*common, *share) for share in fair(np.full(len(seeds), len(points)), 2e6)])
    centres = _distinct(ended[counts > 0], counts[counts > 0], bandwidth)
    return Modes(centres, cKDTree(centres).query(points)[1].astype(np.int64))


def mean_shift_reference(points: np.ndarray, bandwidth: float) -> Modes:
    """What ``mean_shift`` answers, every seed against every point."""
    ended, counts = [], []
    for start in seeds_of(points, bandwidth):
        seed = start
        for _ in range(MOST_STEPS + 1):
            inside = points[((points - seed) ** 2).sum(1) <= bandwidth**2]
            if not len(inside):
                break
            before, seed = seed, inside.mean(0)
            if np.linalg.norm(seed - before) <= STILL * bandwidth:
                break
        ended.append(seed)
        counts.append(len(inside))
    kept = np.array(counts) > 0
    centres = _distinct(np.array(ended)[kept], np.array(counts)[kept], bandwidth)
    return Modes(centres, ((points[:, None] - centres[None]) ** 2).sum(2).argmin(1))


def seeds_of(points: np.ndarray, bandwidth: float) -> np.ndarray:
    """The centres of the occupied bins, or the points themselves if no two share one."""
    bins = np.unique(np.round(points / bandwidth), axis=0)
    return points if len(bins) == len(points) else bins * bandwidth


def _distinct(centres: np.ndarray, counts: np.ndarray, bandwidth: float) -> np.ndarray:
    """The centres that no stronger one is within a bandwidth of, the strongest first."""
    order = np.lexsort((*(-centres.T[::-1]), -counts))
    centres = centres[order]
    tree = cKDTree(centres)
    kept = np.ones(len(centres), bool)
    for place in range(len(centres)):
        if kept[place]:
            near = np.array(tree.query_ball_point(centres[place], bandwidth))
            kept[near[near > place]] = False
    return centres[kept]


@dataclass(frozen=True, eq=False)
class _Bins:
    """Points in the order of their bins, boxes and sums of each bin; bins ascend along ``axis``, where they spread
    most, so that a ball meets a run of them."""

    axis: int
    arrays: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, points: np.ndarray, bandwidth: float) -> _Bins:
        # Half a bandwidth: a box then fits well inside a ball, in the few dimensions of an embedding.
        cells = np.floor(points / (bandwidth / 2))
        axis = int(np.ptp(points, axis=0).argmax())
        order = np.lexsort((*points.T, *cells.T, cells[:, axis]))
        cells, ordered = cells[order], np.ascontiguousarray(points[order])
        first = np.concatenate([[True], (cells[1:] != cells[:-1]).any(1)])
        starts = np.flatnonzero(first)
        low, high = np.minimum.reduceat(ordered, starts), np.maximum.reduceat(ordered, starts)
        sums = np.add.reduceat(ordered, starts)
        return cls(axis, (ordered, np.append(starts, len(points)), cells[starts, axis], low, high, sums))


@compiled
def _climb(
    ended: np.ndarray,
    counts: np.ndarray,
    axis_of_order: int,
    points: np.ndarray,
    starts: np.ndarray,
    places: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    sums: np.ndarray,
    bandwidth: float,
    most: int,
    first: int,
    last: int,
) -> None:
    """Moves the seeds ``first`` to ``last`` to where they end, and counts the points in their last balls."""
    axes = ended.shape[1]
    total = np.empty(axes)
    square = bandwidth * bandwidth
    for seed in range(first, last):
        centre = ended[seed]
        for _ in range(most + 1):
            total[:] = 0.0
            count = 0
            middle = centre[axis_of_order]
            # A cell more on both sides: rounding must not cost a point at the rim.
            start = np.searchsorted(places, np.floor(2 * middle / bandwidth) - 3)
            stop = np.searchsorted(places, np.floor(2 * middle / bandwidth) + 3, side="right")
            for b in range(start, stop):
                nearest = 0.0
                farthest = 0.0
                for axis in range(axes):
                    below, above = low[b, axis] - centre[axis], centre[axis] - high[b, axis]
                    outside = max(below, above, 0.0)
                    nearest += outside * outside
                    reach = max(-below, -above)
                    farthest += reach * reach
                if nearest > square:
                    continue
                if farthest <= square:
                    total += sums[b]
                    count += starts[b + 1] - starts[b]
                    continue
                for row in range(starts[b], starts[b + 1]):
                    distance = 0.0
                    for axis in range(axes):
                        difference = points[row, axis] - centre[axis]
                        distance += difference * difference
                    if distance <= square:
                        count += 1
                        for axis in range(axes):
                            total[axis] += points[row, axis]
            counts[seed] = count
            if count == 0:
                break
            moved = 0.0
            for axis in range(axes):
                step = total[axis] / count - centre[axis]
                moved += step * step
                centre[axis] += step
            if moved <= (1e-3 * bandwidth) ** 2:
                break
