"""Rays through the cells of a forest: where they meet wood, foliage, herbs and soil, and what comes back. Compiled."""

from __future__ import annotations

import numpy as np

from perception.compiled import compiled
from perception.simulate.forest.meet import depth_inside, height_in_cell, meet_foliage, meet_wood, uniform

SOIL, HERBS = -1, -2
CANDIDATES = 96
HERB_EXTINCTION = 1.6
TRIALS = 6
SOIL_REFLECTANCE, HERB_REFLECTANCE = 0.25, 0.4


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
def _exit(o: np.ndarray, d: np.ndarray, border: float, end: float) -> float:
    """Where a ray leaves the square of half side ``border`` about the origin for good, ``end`` if that is nearer."""
    for axis in range(2):
        if abs(d[axis]) > 1e-9:
            far = border if d[axis] > 0 else -border
            end = min(end, (far - o[axis]) / d[axis])
        elif abs(o[axis]) > border:
            return -1.0
    return end


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
    above = o[2] + t * d[2] - height_in_cell(ground, ix, iy, u0, v0)
    beyond = o[2] + out * d[2] - height_in_cell(ground, ix, iy, u1, v1)
    if above <= 0.0:
        return found, min(limit, t)
    stop = t + (out - t) * above / (above - beyond) if beyond <= 0.0 else out
    tall = height_in_cell(herbs, ix, iy, 0.5 * (u0 + u1), 0.5 * (v0 + v1))
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
            when[found], what[found], share[found] = hit, p, (1.0 if thick >= wide else thick / wide)
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
    border: float,
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
    foliage takes, weakest return that is noticed, least distance between two. What is farther than ``border`` metres
    from the origin along x or y, and all behind it, is left out, but it hides what is inside. The rest is ``CellGrid``,
    ``Terrain`` and ``Parts``.
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
        start, limit = _clip(o, d, low, step, size, reach[0], _exit(o, d, border, reach[1]))
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
