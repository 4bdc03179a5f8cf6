"""Rays in forests: the compiled walk through cells against every solid tried one by one, and the laws it follows."""

from __future__ import annotations

import numpy as np
import pytest

from perception.simulate.forest.cast import cast_forest
from perception.simulate.forest.grid import CellGrid, cell_grid
from perception.simulate.forest.kernels import HERBS, SOIL, trace
from perception.simulate.forest.meet import meet_foliage, meet_wood, uniform
from perception.simulate.forest.parts import LIVE_BRANCH, STEM, Parts, foliage, join, wood
from perception.simulate.forest.scanners import AirborneScanner, Beam
from perception.simulate.forest.terrain import Terrain, terrain

OPAQUE = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0])
REACH = np.array([0.0, 1000.0])


def flat(half: float = 6.0, herbs: float = 0.0) -> Terrain:
    nodes = int(2 * half) + 1
    return Terrain(
        np.array([-half, -half]), 1.0, np.zeros((nodes, nodes), np.float32), np.full((nodes, nodes), herbs, np.float32)
    )


def run(
    parts: Parts, ground: Terrain, origins: np.ndarray, directions: np.ndarray, beam: np.ndarray, most: int,
    first_ray: int = 0, seed: int = 3, border: float = 100.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    grid = cell_grid(parts, ground)
    return trace(
        origins.astype(np.float32), directions.astype(np.float32), first_ray, seed, REACH, beam, most, border, grid.low,
        grid.step, grid.first, grid.members, grid.floor, grid.shape[2], ground.ground, ground.herbs, parts.kind,
        parts.shape, parts.extinction, parts.reflectance,
    )  # fmt: skip


def thicket(rng: np.random.Generator, count: int = 60) -> Parts:
    start = np.column_stack([rng.uniform(-5, 5, (count, 2)), rng.uniform(0, 8, count)])
    end = start + rng.uniform(-1.5, 1.5, (count, 3))
    centre = np.column_stack([rng.uniform(-5, 5, (count, 2)), rng.uniform(1, 9, count)])
    leaves = foliage(centre, rng.uniform(-1, 1, (count, 3)), rng.uniform(0.1, 0.8, (count, 3)), 2, 0.5)
    return join([wood(start, end, rng.uniform(0.02, 0.3, (count, 2)), 1, STEM), leaves])


def rays(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    origins = np.column_stack([rng.uniform(-5, 5, (count, 2)), rng.uniform(9, 30, count)])
    targets = np.column_stack([rng.uniform(-5, 5, (count, 2)), rng.uniform(-1, 5, count)])
    directions = targets - origins
    return origins, directions / np.linalg.norm(directions, axis=1, keepdims=True)


def plain_wood(s: np.ndarray, o: np.ndarray, d: np.ndarray, steps: int = 200_000) -> float:
    """First of many points along a ray that is inside the tapered cylinder."""
    t = np.linspace(0, 40, steps)
    p = o + t[:, None] * d - s[:3]
    axis = s[3:6] - s[:3]
    length = np.linalg.norm(axis)
    along = p @ (axis / length)
    radius = s[6] + (s[7] - s[6]) * along / length
    inside = (along >= 0) & (along <= length) & ((p * p).sum(1) - along**2 <= radius**2)
    return float(t[np.argmax(inside)]) if inside.any() else np.inf


def test_wood_is_met_where_marching_along_the_ray_meets_it() -> None:
    rng = np.random.default_rng(0)
    compared = 0
    for _ in range(60):
        end = rng.uniform(-1, 1, 3)
        s = np.concatenate([[0, 0, 0], end, rng.uniform(0.1, 0.4, 2), np.zeros(4)])
        o = rng.uniform(-1, 1, 3) * 3 + [6, 0, 0]
        d = (end / 2 + rng.uniform(-0.3, 0.3, 3)) - o
        d /= np.linalg.norm(d)
        found, wanted = meet_wood(s, *o, *d), plain_wood(s, o, d)
        if np.isfinite(found):
            assert found == pytest.approx(wanted, abs=1e-3)
            compared += 1
        elif np.isfinite(wanted):  # through the open end, which has no lid
            hit = o + wanted * d
            share = hit @ end / (end @ end)
            assert share < 0.02 or share > 0.98
    assert compared > 20


def test_the_walk_through_cells_finds_what_trying_every_solid_finds() -> None:
    rng = np.random.default_rng(1)
    parts = thicket(rng)
    parts = Parts(*(v[parts.kind == 0] for v in vars(parts).values()))
    origins, directions = rays(rng, 3000)
    distance, solid, _ = run(parts, flat(), origins, directions, OPAQUE, 1)
    o, d = origins.astype(np.float32).astype(float), directions.astype(np.float32).astype(float)
    every = np.array([[meet_wood(s, *o[r], *d[r]) for s in parts.shape] for r in range(len(o))])
    soil = np.where(d[:, 2] < 0, -o[:, 2] / d[:, 2], np.inf)
    reach = o + soil[:, None] * d
    soil[(np.abs(reach[:, :2]) > 6).any(1)] = np.inf
    wanted = np.minimum(every.min(1), soil)
    assert np.allclose(distance[:, 0], wanted, atol=1e-3)
    wood_first = every.min(1) < soil
    assert (solid[wood_first, 0] == every.argmin(1)[wood_first]).all()
    assert (solid[~wood_first & np.isfinite(wanted), 0] == SOIL).all()
    assert wood_first.sum() > 300


def test_cells_hold_the_solids_whose_boxes_reach_into_them() -> None:
    parts = thicket(np.random.default_rng(2), 15)
    grid: CellGrid = cell_grid(parts, flat())
    nx, ny, nz = grid.shape
    low = np.floor((parts.low - grid.low) / grid.step)
    high = np.floor((parts.high - grid.low) / grid.step)
    for cell in np.random.default_rng(0).choice(nx * ny * nz, 400, replace=False):
        place = np.array([cell // (ny * nz), cell // nz % ny, cell % nz])
        wanted = np.flatnonzero(((low <= place) & (high >= place)).all(1))
        assert sorted(grid.members[grid.first[cell] : grid.first[cell + 1]]) == wanted.tolist()


def test_foliage_thins_rays_by_the_law_of_beer_and_lambert() -> None:
    """Through the middle of a ball whose density falls from 1 to 0: exp(-4/3 k r) pass."""
    radius, extinction, count = 0.9, 1.1, 20_000
    ball = foliage(np.array([[0, 0, 3.0]]), np.array([[1.0, 0, 0]]), np.full((1, 3), radius), 1, extinction)
    origins = np.tile([0.2, 0.1, 20.0], (count, 1)) * [0, 0, 1]
    distance, solid, _ = run(ball, flat(), origins, np.tile([0, 0, -1.0], (count, 1)), OPAQUE, 1)
    passed = (solid[:, 0] == SOIL).mean()
    assert passed == pytest.approx(np.exp(-4 / 3 * extinction * radius), abs=0.012)
    inside = distance[solid[:, 0] == 0, 0]
    assert (inside >= 17 - radius).all()
    assert (inside <= 17 + radius).all()


def test_an_ellipsoid_is_crossed_where_its_axes_say() -> None:
    part = foliage(np.array([[0, 0, 0.0]]), np.array([[0.0, 1, 0]]), np.array([[2.0, 1, 0.5]]), 1, 1.0)
    assert meet_foliage(part.shape[0], 0, -10, 0, 0, 1, 0) == pytest.approx((8, 12), abs=1e-4)
    assert meet_foliage(part.shape[0], -10, 0, 0, 1, 0, 0) == pytest.approx((9, 11), abs=1e-4)
    assert meet_foliage(part.shape[0], 0, 0, 10, 0, 0, -1) == pytest.approx((9.5, 10.5), abs=1e-4)
    assert not np.isfinite(meet_foliage(part.shape[0], 0, 0, 10, 0, 0, 1)[0])


def test_returns_do_not_depend_on_how_rays_are_cut_into_chunks() -> None:
    rng = np.random.default_rng(4)
    parts, ground = thicket(rng), flat(herbs=0.4)
    beam = np.array([0.01, 0.003, 0.3, 0.9, 0.03, 0.3])
    origins, directions = rays(rng, 1000)
    whole = run(parts, ground, origins, directions, beam, 4)
    halves = [
        run(parts, ground, origins[k], directions[k], beam, 4, first_ray=k.start)
        for k in (slice(0, 430), slice(430, 1000))
    ]
    for a, b in zip(whole, zip(*halves)):
        assert np.array_equal(a, np.concatenate(b))
    distance, solid, energy = whole
    with np.errstate(invalid="ignore"):
        gaps = np.diff(distance, axis=1)
    assert (gaps[np.isfinite(distance[:, 1:])] >= 0.3).all()
    assert (energy[np.isfinite(distance)] >= 0.03).all()
    assert (energy.sum(1) <= 1).all()
    assert set(np.unique(solid[np.isfinite(distance)])) >= {SOIL, HERBS}


def test_a_border_leaves_out_what_is_beyond_and_nothing_else() -> None:
    rng = np.random.default_rng(6)
    parts, ground = thicket(rng), flat(herbs=0.3)
    beam = np.array([0.01, 0.003, 0.3, 0.9, 0.03, 0.3])
    origins, directions = rays(rng, 2000)
    whole = run(parts, ground, origins, directions, beam, 4)[0].astype(np.float64)
    cut = run(parts, ground, origins, directions, beam, 4, border=3.0)[0].astype(np.float64)
    with np.errstate(invalid="ignore"):
        leaves = np.where(directions > 0, 3.0 - origins, -3.0 - origins)[:, :2] / directions[:, :2]
    inside = whole < leaves.min(1)[:, None] - 1e-4
    assert np.array_equal(np.where(inside, whole, np.inf), cut)
    assert 0.1 < inside.sum() / np.isfinite(whole).sum() < 0.9


def test_soil_is_met_at_the_height_of_the_terrain() -> None:
    ground = terrain(10.0, 0.5, 0.4, 0.8, 0.0, np.random.default_rng(0))
    none = wood(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 2)), 0, STEM)
    rng = np.random.default_rng(5)
    origins = np.column_stack([rng.uniform(-9, 9, (3000, 2)), np.full(3000, 25.0)])
    targets = np.column_stack([rng.uniform(-9, 9, (3000, 2)), np.full(3000, -6.0)])
    directions = (targets - origins) / np.linalg.norm(targets - origins, axis=1, keepdims=True)
    distance, _, _ = run(none, ground, origins, directions, OPAQUE, 1)
    assert np.isfinite(distance[:, 0]).all()
    points = origins + distance[:, :1] * directions
    assert np.abs(points[:, 2] - ground.height(points[:, 0], points[:, 1])).max() < 0.03


def test_hashed_numbers_are_even_and_independent() -> None:
    values = np.array([[uniform(7, ray, solid) for solid in range(60)] for ray in range(200)])
    assert abs(values.mean() - 0.5) < 0.01
    assert np.histogram(values, 10, (0, 1))[0].min() > 0.85 * values.size / 10
    assert abs(np.corrcoef(values[:-1].ravel(), values[1:].ravel())[0, 1]) < 0.03
    assert abs(np.corrcoef(values[:, :-1].ravel(), values[:, 1:].ravel())[0, 1]) < 0.03


def test_a_bare_plot_gives_one_return_a_pulse_at_the_wanted_density() -> None:
    none = wood(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 2)), 0, LIVE_BRANCH)
    ground = flat(20.0)
    scanner = AirborneScanner(beam=Beam(0.01, 0.0003, (0.3, 0.9), 0.03, 1.0, 5, 0.0, 5.0, 3000.0))
    echoes = cast_forest(scanner, none, cell_grid(none, ground), ground, 15.0, 8.0, 1, np.random.default_rng(0))
    assert len(echoes.xyz) / 900 == pytest.approx(8.0, rel=0.03)
    assert (echoes.of == 1).all()
    assert np.abs(echoes.xyz[:, 2]).max() < 0.01
    cells = np.histogram2d(*echoes.xyz[:, :2].T, bins=30, range=[[-15, 15]] * 2)[0]
    assert cells.min() >= 1
