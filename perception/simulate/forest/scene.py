"""A generated forest plot with the truth of every point: a stand by seed, scanned from the air or from within."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perception.errors import PerceptionError
from perception.points import PointCloud
from perception.simulate.forest.cast import Echoes, cast_forest
from perception.simulate.forest.floor import build_floor
from perception.simulate.forest.grid import cell_grid
from perception.simulate.forest.parts import join
from perception.simulate.forest.scanners import DENSITIES, Scanner, scanner_named
from perception.simulate.forest.stand import StandPlan, Trees, draw_plan, grow_stand
from perception.simulate.forest.terrain import Terrain, terrain
from perception.simulate.forest.trees import build_trees

BUFFER = 8.0
"""Metres of forest around a plot, so that the trees at its border have neighbours and their crowns reach in."""
SIDES = (4.0, 400.0)
MOST_POINTS = 60_000_000


@dataclass(frozen=True, eq=False)
class ForestScan:
    """A scan of a plot.

    ``cloud`` has the fields ``tree_id`` (int32, 0 for no tree, else the row in ``trees`` plus 1), ``semantic`` (uint8,
    FOR-instance's classes: 0 unclassified, 1 low vegetation, 2 terrain, 4 stem, 5 live branches, 6 dead branches),
    ``intensity`` (uint16), ``return_number`` and ``number_of_returns`` (uint8), ``gps_time`` seconds and
    ``point_source_id`` (flight line or station). ``inside`` (trees,) tells which stems stand in the plot.
    """

    cloud: PointCloud
    trees: Trees
    inside: np.ndarray
    plan: StandPlan
    ground: Terrain


def forest(
    seed: int,
    scanner: str | Scanner = "airborne",
    *,
    side: float = 50.0,
    density: float | None = None,
    stems: float | None = None,
    kind: str | None = None,
    plan: StandPlan | None = None,
) -> ForestScan:
    """Scan a random forest plot of ``side`` metres about the origin at ``density`` points a square metre.

    ``stems`` per hectare and ``kind`` of stand ("spruce", "pine", "broadleaf", "mixed", "fir") are drawn where they
    are not given; ``plan`` gives all of it. The same arguments give the same points. Raises PerceptionError for
    sizes and densities that are not positive or out of all proportion, and for unknown names.
    """
    name = scanner if isinstance(scanner, str) else "airborne"
    device = scanner_named(scanner) if isinstance(scanner, str) else scanner
    density = DENSITIES[name] if density is None else density
    check_plot(seed, side, density)
    plan_random, stand_random, shape_random, ray_random = (
        np.random.Generator(np.random.PCG64([seed, part])) for part in (10, 11, 12, 13)
    )
    plan = plan if plan is not None else draw_plan(plan_random, kind, stems)
    half = side / 2 + BUFFER
    ground = terrain(half + 1, 1.0 if side > 40 else 0.5, plan.slope, plan.undulation, plan.herbs, stand_random)
    trees = grow_stand(plan, half, ground, stand_random)
    detail = 1.0 if density < 100 else (1.4 if density < 1500 else 2.0)
    parts = join([build_trees(trees, detail, shape_random), build_floor(plan, half, ground, shape_random)])
    echoes = cast_forest(device, parts, cell_grid(parts, ground), ground, side / 2, density, seed, ray_random)
    inside = (np.abs(trees.position[:, :2]) <= side / 2).all(1)
    return ForestScan(_cloud(echoes), trees, inside, plan, ground)


def check_plot(seed: int, side: float, density: float) -> None:
    """Raises PerceptionError for what no plot can be made of."""
    if seed < 0:
        raise PerceptionError(f"seed {seed}", "a whole number from 0")
    if not SIDES[0] <= side <= SIDES[1]:
        raise PerceptionError(f"a plot of {side} m", f"a side from {SIDES[0]} to {SIDES[1]} m")
    if not density > 0 or density * side**2 > MOST_POINTS:
        raise PerceptionError(
            f"{density} points a square metre on a plot of {side} m",
            f"more than 0, and at most {MOST_POINTS:,} points in all",
            "take a smaller plot or fewer points",
        )


def _cloud(echoes: Echoes) -> PointCloud:
    fields = {
        "intensity": np.clip(np.round(echoes.energy * 4000), 1, 65535).astype(np.uint16),
        "return_number": echoes.number,
        "number_of_returns": echoes.of,
        "gps_time": echoes.time,
        "point_source_id": echoes.source,
        "tree_id": echoes.tree,
        "semantic": echoes.semantic,
    }
    return PointCloud(echoes.xyz, fields, frame="map", metadata={"scale": (0.001, 0.001, 0.001)})
