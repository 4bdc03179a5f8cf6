"""How upright the surface around each point is: stems and walls stand, ground and most leaves do not."""

from __future__ import annotations

import numpy as np

from perception.compiled import compiled
from perception.threads import fair, run_shares
from perception.trees.cells import sort_into_cells


def verticality(points: np.ndarray, radius: float) -> np.ndarray:
    """1 - |z of the normal| (N,) float32 of the points within ``radius`` of each: 1 on walls, 0 on flat ground.

    The normal is the direction in which the points spread least (Demantké et al. 2012). Where fewer than three points
    are near it is 0.
    """
    points = np.ascontiguousarray(points, np.float64)
    cells = sort_into_cells(points, radius)
    ordered = points[cells.rows]
    moments = np.zeros((len(points), 10))
    arrays = (ordered, cells.starts, cells.keys, cells.steps, radius, moments)
    work = np.diff(cells.starts).astype(np.float64) ** 2
    run_shares(_moments, [(*arrays, *share) for share in fair(work, 1e6)])
    counts = np.maximum(moments[:, :1], 1)
    mean = moments[:, 1:4] / counts
    spread = np.empty((len(points), 3, 3))
    for place, (a, b) in enumerate(((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))):
        value = moments[:, 4 + place] / counts[:, 0] - mean[:, a] * mean[:, b]
        spread[:, a, b] = spread[:, b, a] = value
    normal = np.linalg.eigh(spread)[1][:, 2, 0]
    upright = np.where(moments[:, 0] >= 3, 1 - np.abs(normal), 0)
    found = np.empty(len(points), np.float32)
    found[cells.rows] = upright
    return found


@compiled
def _moments(
    points: np.ndarray,
    starts: np.ndarray,
    keys: np.ndarray,
    steps: np.ndarray,
    radius: float,
    moments: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Number, sums and sums of products of the points near each, about the point itself."""
    square = radius * radius
    for cell in range(first, last):
        for z in range(-1, 2):
            for y in range(-1, 2):
                key = keys[cell] + z * steps[0] + y * steps[1] - 1
                near = np.searchsorted(keys, key)
                while near < len(keys) and keys[near] <= key + 2:
                    for a in range(starts[cell], starts[cell + 1]):
                        for b in range(starts[near], starts[near + 1]):
                            dx = points[b, 0] - points[a, 0]
                            dy = points[b, 1] - points[a, 1]
                            dz = points[b, 2] - points[a, 2]
                            if dx * dx + dy * dy + dz * dz <= square:
                                moments[a, 0] += 1
                                moments[a, 1] += dx
                                moments[a, 2] += dy
                                moments[a, 3] += dz
                                moments[a, 4] += dx * dx
                                moments[a, 5] += dx * dy
                                moments[a, 6] += dx * dz
                                moments[a, 7] += dy * dy
                                moments[a, 8] += dy * dz
                                moments[a, 9] += dz * dz
                    near += 1
