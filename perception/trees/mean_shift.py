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
    ended, counts = _climb(seeds, *bins.arrays, bandwidth, MOST_STEPS)
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
    """Points in the order of their bins, boxes and sums of each bin."""

    arrays: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]

    @classmethod
    def of(cls, points: np.ndarray, bandwidth: float) -> _Bins:
        # Half a bandwidth: a box then fits well inside a ball, in the few dimensions of an embedding.
        cells = np.floor(points / (bandwidth / 2))
        order = np.lexsort((*points.T, *cells.T))
        cells, ordered = cells[order], np.ascontiguousarray(points[order])
        first = np.concatenate([[True], (cells[1:] != cells[:-1]).any(1)])
        starts = np.flatnonzero(first)
        low, high = np.minimum.reduceat(ordered, starts), np.maximum.reduceat(ordered, starts)
        sums = np.add.reduceat(ordered, starts)
        return cls((ordered, np.append(starts, len(points)), low, high, sums))


@compiled
def _climb(
    seeds: np.ndarray,
    points: np.ndarray,
    starts: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    sums: np.ndarray,
    bandwidth: float,
    most: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Where each seed ends, and how many points its last ball held."""
    ended = seeds.copy()
    counts = np.zeros(len(seeds), np.int64)
    axes = seeds.shape[1]
    total = np.empty(axes)
    square = bandwidth * bandwidth
    for seed in range(len(seeds)):
        centre = ended[seed]
        for _ in range(most + 1):
            total[:] = 0.0
            count = 0
            for b in range(len(starts) - 1):
                nearest = 0.0
                farthest = 0.0
                for axis in range(axes):
                    below, above = low[b, axis] - centre[axis], centre[axis] - high[b, axis]
                    outside = max(below, above, 0.0)
                    nearest += outside * outside
                    reach = max(-below, -above)
                    farthest += reach * reach
                    if nearest > square:
                        break
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
    return ended, counts
