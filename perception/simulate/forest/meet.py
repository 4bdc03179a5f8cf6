"""Where a ray meets one solid of a forest, and the random numbers that decide in foliage. Compiled.

Random numbers are hashes of (seed, ray, solid), so a ray's returns do not depend on the order of anything.
"""

from __future__ import annotations

import numpy as np

from perception.compiled import compiled


@compiled
def uniform(seed: int, ray: int, solid: int) -> float:
    """A number in (0, 1) by SplitMix64 (Steele, Lea and Flood 2014)."""
    state = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(ray)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = state + np.uint64(solid) * np.uint64(0xD1342543DE82EF95)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state = (state ^ (state >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    state = state ^ (state >> np.uint64(29))
    return (float(state >> np.uint64(11)) + 0.5) / 9007199254740992.0


@compiled
def meet_wood(s: np.ndarray, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float) -> float:
    """Distance to the mantle of a tapered cylinder of row ``s`` of ``Parts.shape``, inf for a miss."""
    ax, ay, az = s[3] - s[0], s[4] - s[1], s[5] - s[2]
    length = np.sqrt(ax * ax + ay * ay + az * az)
    if length < 1e-6:
        return np.inf
    ax, ay, az = ax / length, ay / length, az / length
    px, py, pz = ox - s[0], oy - s[1], oz - s[2]
    da = dx * ax + dy * ay + dz * az
    pa = px * ax + py * ay + pz * az
    slope = (s[7] - s[6]) / length
    radius = s[6] + slope * pa
    # |p + t d|^2 - axial^2 = radius(axial)^2
    a = 1.0 - da * da - slope * da * slope * da
    b = (px * dx + py * dy + pz * dz) - pa * da - radius * slope * da
    c = (px * px + py * py + pz * pz) - pa * pa - radius * radius
    if c < 0.0 or a < 1e-9:
        return np.inf
    square = b * b - a * c
    if square <= 0.0:
        return np.inf
    t = (-b - np.sqrt(square)) / a
    along = pa + t * da
    if t <= 0.0 or along < 0.0 or along > length:
        return np.inf
    return t


@compiled
def meet_foliage(
    s: np.ndarray, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float
) -> tuple[float, float]:
    """Distances at which a ray enters and leaves an ellipsoid of row ``s`` of ``Parts.shape``; inf, inf for a miss."""
    px, py, pz = ox - s[0], oy - s[1], oz - s[2]
    a = b = c = 0.0
    for row in range(3):
        u = s[3 + 3 * row] * dx + s[4 + 3 * row] * dy + s[5 + 3 * row] * dz
        v = s[3 + 3 * row] * px + s[4 + 3 * row] * py + s[5 + 3 * row] * pz
        a += u * u
        b += u * v
        c += v * v
    square = b * b - a * (c - 1.0)
    if square <= 0.0:
        return np.inf, np.inf
    root = np.sqrt(square)
    leave = (-b + root) / a
    if leave <= 0.0:
        return np.inf, np.inf
    return max((-b - root) / a, 0.0), leave


@compiled
def depth_inside(s: np.ndarray, x: float, y: float, z: float) -> float:
    """1 at the middle of the ellipsoid of row ``s``, 0 at its surface: how dense its foliage is there."""
    rho = 0.0
    for row in range(3):
        u = s[3 + 3 * row] * (x - s[0]) + s[4 + 3 * row] * (y - s[1]) + s[5 + 3 * row] * (z - s[2])
        rho += u * u
    return 1.0 - rho


@compiled
def height_in_cell(values: np.ndarray, i: int, j: int, u: float, v: float) -> float:
    """Between the four nodes of cell (i, j), at the shares ``u`` and ``v`` of its sides."""
    near = values[i, j] * (1 - v) + values[i, j + 1] * v
    return near * (1 - u) + (values[i + 1, j] * (1 - v) + values[i + 1, j + 1] * v) * u
