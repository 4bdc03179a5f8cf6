"""Solids that rays meet in a forest, kept as arrays: tapered cylinders of wood and ellipsoids of foliage.

Foliage stops a ray after an exponential way inside the ellipsoid (Beer and Lambert), so crowns are porous.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

UNCLASSIFIED, LOW_VEGETATION, TERRAIN, OUT_POINT, STEM, LIVE_BRANCH, DEAD_BRANCH = range(7)
"""Classes of points as the FOR-instance data set numbers them (Puliti et al. 2023); 4 to 6 are trees."""
WOOD, FOLIAGE = 0, 1


@dataclass(frozen=True, eq=False)
class Parts:
    """P solids. ``kind`` WOOD or FOLIAGE.

    ``shape`` (P, 12) float32: of wood the two ends (3 + 3) and the radii there (2), metres; of foliage the centre (3)
    and the rows of the matrix (9) that makes the ellipsoid about it the unit sphere. ``low`` and ``high`` (P, 3)
    enclose it. ``tree`` the number of its tree, from 1, or 0; ``semantic`` the class of its points; ``reflectance`` in
    [0, 1]; ``extinction`` of foliage in 1/m.
    """

    kind: np.ndarray
    shape: np.ndarray
    low: np.ndarray
    high: np.ndarray
    tree: np.ndarray
    semantic: np.ndarray
    reflectance: np.ndarray
    extinction: np.ndarray

    def __len__(self) -> int:
        return len(self.kind)


def join(parts: Sequence[Parts]) -> Parts:
    """All solids of several sets as one."""
    return Parts(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Parts)))


def wood(
    start: np.ndarray, end: np.ndarray, radii: np.ndarray, tree: int, semantic: int, reflectance: float = 0.4
) -> Parts:
    """Tapered cylinders from ``start`` to ``end`` (P, 3) with ``radii`` (P, 2) there."""
    shape = np.zeros((len(start), 12), np.float32)
    shape[:, :3], shape[:, 3:6], shape[:, 6:8] = start, end, radii
    reach = radii.max(1, initial=0)[:, None]
    return _parts(
        WOOD, shape, np.minimum(start, end) - reach, np.maximum(start, end) + reach, tree, semantic, reflectance, 0.0
    )


def foliage(
    centre: np.ndarray,
    along: np.ndarray,
    radii: np.ndarray,
    tree: int,
    extinction: float,
    semantic: int = LIVE_BRANCH,
    reflectance: float = 0.4,
) -> Parts:
    """Ellipsoids about ``centre`` (P, 3) whose first axis points ``along`` (P, 3), with half axes ``radii`` (P, 3).

    The second axis is horizontal, the third completes the frame.
    """
    first = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    second = np.stack([-first[:, 1], first[:, 0], np.zeros(len(first))], -1)
    upright = np.linalg.norm(second, axis=1) < 1e-3
    second[upright] = [0.0, 1.0, 0.0]
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    axes = np.stack([first, second, np.cross(first, second)], 1)
    radii = np.maximum(radii, 0.01)
    shape = np.concatenate([centre, (axes / radii[:, :, None]).reshape(-1, 9)], 1).astype(np.float32)
    reach = np.sqrt(((axes * radii[:, :, None]) ** 2).sum(1))
    return _parts(FOLIAGE, shape, centre - reach, centre + reach, tree, semantic, reflectance, extinction)


def below(parts: Parts, top: float) -> Parts:
    """The same solids none of which reaches above ``top``: foliage moves down, ends of wood are lowered."""
    shape, low, high = parts.shape.copy(), parts.low.copy(), parts.high.copy()
    excess = np.maximum(high[:, 2] - top, 0)
    leaves = parts.kind == FOLIAGE
    shape[leaves, 2] -= excess[leaves]
    low[leaves, 2] -= excess[leaves]
    ends, thick = np.minimum(shape[~leaves][:, [2, 5]], top), shape[~leaves, 6:8].max(1, initial=0)
    shape[~leaves, 2], shape[~leaves, 5] = ends.T
    low[~leaves, 2] = np.minimum(low[~leaves, 2], ends.min(1, initial=top) - thick)
    high[leaves, 2] = np.minimum(high[leaves, 2], top)
    return replace(parts, shape=shape, low=low, high=high)


def _parts(
    kind: int,
    shape: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    tree: int,
    semantic: int,
    reflectance: float,
    extinction: float,
) -> Parts:
    count = len(shape)
    return Parts(
        np.full(count, kind, np.uint8),
        shape,
        low.astype(np.float32),
        high.astype(np.float32),
        np.full(count, tree, np.int32),
        np.full(count, semantic, np.uint8),
        np.full(count, reflectance, np.float32),
        np.full(count, extinction, np.float32),
    )
