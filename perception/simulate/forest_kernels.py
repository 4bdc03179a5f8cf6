"""Rays through the cells of a forest: where they meet wood, foliage, herbs and soil. Compiled.

Random numbers are hashes of (seed, ray, solid), so a ray's returns do not depend on the order of anything.
"""

from __future__ import annotations

import numpy as np

from perception.compiled import compiled

SOIL, HERBS = -1, -2
CANDIDATES = 96
HERB_EXTINCTION = 1.6
TRIALS = 6
SOIL_REFLECTANCE, HERB_REFLECTANCE = 0.25, 0.4


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
def _node(values: np.ndarray, i: int, j: int, u: float, v: float) -> float:
    near = values[i, j] * (1 - v) + values[i, j + 1] * v
    return near * (1 - u) + (values[i + 1, j] * (1 - v) + values[i + 1, j + 1] * v) * u


@compiled
def _clip(
    o: np.ndarray, d: np.ndarray, low: np.ndarray, step: float, size: np.ndarray, start: float, end: float
) -> tuple[float, float]:
    """The part of a ray inside the grid; the second number is not above the first where there is none."""
    for axis in range(3):
        if abs(d[axis]) < 1e-9:
            if o[axis] < low[axis] or o[axis] > low[axis] + size[axis] * step:
                return start, -1.0
            continue
        t1 = (low[axis] - o[axis]) / d[axis]
        t2 = (low[axis] + size[axis] * step - o[axis]) / d[axis]
        start, end = max(start, min(t1, t2)), min(end, max(t1, t2))
    return start, end


@compiled
def _enter(
    o: np.ndarray, d: np.ndarray, low: np.ndarray, step: float, size: np.ndarray, start: float,
    cell: np.ndarray, turn: np.ndarray, after: np.ndarray, gap: np.ndarray,
) -> None:  # fmt: skip
    """The first cell, and for each axis which way its cells go, where the next begins and how far apart they are
    (Amanatides and Woo 1987)."""
    for axis in range(3):
        place = (o[axis] + d[axis] * (start + 1e-6) - low[axis]) / step
        cell[axis] = min(max(int(np.floor(place)), 0), size[axis] - 1)
        turn[axis] = 1 if d[axis] > 0 else -1
        if abs(d[axis]) > 1e-9:
            border = cell[axis] + 1 if d[axis] > 0 else cell[axis]
            after[axis] = (low[axis] + border * step - o[axis]) / d[axis]
            gap[axis] = step / abs(d[axis])
        else:
            after[axis], gap[axis] = np.inf, np.inf


@compiled
def _meet_floor(
    o: np.ndarray, d: np.ndarray, t: float, out: float, low: np.ndarray, step: float, cell: np.ndarray,
    ground: np.ndarray, herbs: np.ndarray, seed: int, number: int, beam: np.ndarray,
    when: np.ndarray, what: np.ndarray, share: np.ndarray, found: int, limit: float,
) -> tuple[int, float]:  # fmt: skip
    """Herbs and soil on the way from ``t`` to ``out`` through a column: height above the soil is linear on it."""
    ix, iy = cell[0], cell[1]
    u0, v0 = (o[0] + t * d[0] - low[0]) / step - ix, (o[1] + t * d[1] - low[1]) / step - iy
    u1, v1 = (o[0] + out * d[0] - low[0]) / step - ix, (o[1] + out * d[1] - low[1]) / step - iy
    above = o[2] + t * d[2] - _node(ground, ix, iy, u0, v0)
    beyond = o[2] + out * d[2] - _node(ground, ix, iy, u1, v1)
    if above <= 0.0:
        return found, min(limit, t)
    stop = t + (out - t) * above / (above - beyond) if beyond <= 0.0 else out
    tall = _node(herbs, ix, iy, 0.5 * (u0 + u1), 0.5 * (v0 + v1))
    if tall > 0.02 and min(above, beyond) < tall and found < CANDIDATES:
        enter = t + (out - t) * (above - tall) / (above - beyond) if above > tall else t
        leave = t + (out - t) * (tall - above) / (beyond - above) if beyond > tall else stop
        at = enter - np.log(uniform(seed, number, 3 + ix * ground.shape[1] + iy)) / HERB_EXTINCTION
        if at < leave:
            when[found], what[found] = at, HERBS
            share[found] = beam[2] + (beam[3] - beam[2]) * uniform(seed, number, 1)
            found += 1
    if beyond <= 0.0 and stop < limit:
        limit = stop
        if found < CANDIDATES:
            when[found], what[found], share[found] = stop, SOIL, 1.0
            found += 1
    return found, limit


@compiled
def _meet(
    kind: int, s: np.ndarray, extinction: float, p: int, o: np.ndarray, d: np.ndarray, start: float,
    seed: int, number: int, beam: np.ndarray, most: int,
    when: np.ndarray, what: np.ndarray, share: np.ndarray, found: int, limit: float,
) -> tuple[int, float]:  # fmt: skip
    """Where a ray meets solid ``p``: wood at its mantle, foliage at up to two places inside.

    Foliage thins out towards its surface: of stops drawn at full density those are kept that a thinner one would have
    made too (tracking by Woodcock et al. 1965).
    """
    if kind == 0:
        hit = meet_wood(s, o[0], o[1], o[2], d[0], d[1], d[2])
        if start < hit < limit and found < CANDIDATES:
            wide, thick = beam[0] + beam[1] * hit, s[6] + s[7]
            when[found], what[found], share[found] = hit, p, min(1.0, thick / wide)
            if thick >= wide or most == 1:
                limit = hit
            found += 1
        return found, limit
    at, leave = meet_foliage(s, o[0], o[1], o[2], d[0], d[1], d[2])
    if at >= limit:
        return found, limit
    at, kept = max(at, start), 0
    for trial in range(TRIALS):
        key = 1_000_003 + 16 * p + 2 * trial
        at -= np.log(uniform(seed, number, key)) / extinction
        if at >= leave or at >= limit or found >= CANDIDATES or kept == 2:
            break
        dense = depth_inside(s, o[0] + at * d[0], o[1] + at * d[1], o[2] + at * d[2])
        chance = uniform(seed, number, key + 1)
        if chance < dense:
            when[found], what[found] = at, p
            share[found] = beam[2] + (beam[3] - beam[2]) * chance / dense
            found += 1
            kept += 1
            if most == 1:
                limit = at
    return found, limit


@compiled
def _energy_left(when: np.ndarray, share: np.ndarray, found: int, t: float) -> float:
    left = 1.0
    for i in range(found):
        if when[i] <= t:
            left *= 1.0 - share[i]
    return left


@compiled
def _echo(
    when: np.ndarray, what: np.ndarray, share: np.ndarray, found: int, limit: float, beam: np.ndarray, most: int,
    reflectance: np.ndarray, distance: np.ndarray, solid: np.ndarray, energy: np.ndarray,
) -> None:  # fmt: skip
    """The returns that the receiver tells apart, nearest first, into one row of the results; ``when`` is used up."""
    left, number, last = 1.0, 0, -np.inf
    for _ in range(found):
        best = 0
        for i in range(1, found):
            if when[i] < when[best]:
                best = i
        at, p = when[best], what[best]
        if at > limit:
            return
        when[best] = np.inf
        bright = SOIL_REFLECTANCE if p == SOIL else (HERB_REFLECTANCE if p == HERBS else reflectance[p])
        back = left * share[best] * bright
        left *= 1.0 - share[best]
        if back >= beam[4] and at - last >= beam[5]:
            distance[number], solid[number], energy[number] = at, p, back
            number += 1
            last = at
        if number == most or left < beam[4]:
            return


@compiled
def trace(
    origins: np.ndarray,
    directions: np.ndarray,
    first_ray: int,
    seed: int,
    reach: np.ndarray,
    beam: np.ndarray,
    most: int,
    low: np.ndarray,
    step: float,
    first: np.ndarray,
    members: np.ndarray,
    floor: np.ndarray,
    nz: int,
    ground: np.ndarray,
    herbs: np.ndarray,
    kind: np.ndarray,
    shape: np.ndarray,
    extinction: np.ndarray,
    reflectance: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns of rays from ``origins`` along unit ``directions`` (R, 3): distance, solid (or SOIL, HERBS) and energy.

    Each (R, ``most``), filled from the left, distance inf where there is no return. ``reach`` (2,) nearest and farthest
    range; ``beam`` (6,): width of the beam at its foot and its divergence, lowest and highest share of the energy that
    foliage takes, weakest return that is noticed, least distance between two. The rest is ``CellGrid``, ``Terrain`` and
    ``Parts``.
    """
    nx, ny = floor.shape
    size = np.array([nx, ny, nz])
    distance = np.full((len(origins), most), np.inf, np.float32)
    solid = np.full((len(origins), most), SOIL, np.int32)
    energy = np.zeros((len(origins), most), np.float32)
    stamp = np.full(len(kind), -1, np.int64)
    when, what, share = np.empty(CANDIDATES), np.empty(CANDIDATES, np.int64), np.empty(CANDIDATES)
    cell, turn, after, gap = np.empty(3, np.int64), np.empty(3, np.int64), np.empty(3), np.empty(3)
    o, d = np.empty(3), np.empty(3)
    for ray in range(len(origins)):
        for axis in range(3):
            o[axis], d[axis] = origins[ray, axis], directions[ray, axis]
        start, limit = _clip(o, d, low, step, size, reach[0], reach[1])
        if limit <= start:
            continue
        _enter(o, d, low, step, size, start, cell, turn, after, gap)
        found, t, number, sure = 0, start, first_ray + ray, 0
        while t < limit:
            out = min(after[0], after[1], after[2], limit)
            if low[2] + cell[2] * step <= floor[cell[0], cell[1]]:
                found, limit = _meet_floor(
                    o, d, t, out, low, step, cell, ground, herbs, seed, number, beam, when, what, share, found, limit
                )
            index = (cell[0] * ny + cell[1]) * nz + cell[2]
            for slot in range(first[index], first[index + 1]):
                p = members[slot]
                if stamp[p] != ray:
                    stamp[p] = ray
                    found, limit = _meet(
                        kind[p], shape[p], extinction[p], p, o, d, start, seed, number, beam, most, when, what, share,
                        found, limit,
                    )  # fmt: skip
            axis = 0 if after[0] <= after[1] and after[0] <= after[2] else (1 if after[1] <= after[2] else 2)
            t = after[axis]
            after[axis] += gap[axis]
            cell[axis] += turn[axis]
            if cell[axis] < 0 or cell[axis] >= size[axis]:
                break
            if found > sure:
                sure = found
                if _energy_left(when, share, found, t) < beam[4]:
                    break
        _echo(when, what, share, found, limit, beam, most, reflectance, distance[ray], solid[ray], energy[ray])
    return distance, solid, energy
