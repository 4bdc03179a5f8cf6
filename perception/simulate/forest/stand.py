"""Which trees stand where: number, diameters, heights, crowns and places of the stems of a plot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perception.errors import PerceptionError
from perception.simulate.forest.species import (
    BREAST,
    DEAD,
    SPECIES,
    STANDS,
    Species,
    crown_diameter_of,
    height_of,
)
from perception.simulate.forest.terrain import Terrain

STEMS = (20, 5000)
REINEKE = -1.605
"""Exponent of the self-thinning line, log N = const - 1.605 log Dq (Reineke 1933)."""


@dataclass(frozen=True)
class StandPlan:
    """A stand: its kind in ``STANDS``, ``stems`` per hectare of the upper storey, ``stocking`` (stems of 25 cm per
    hectare that use the site as much, Reineke's stand density index: 400 thin, 900 dense), ``site`` (a factor on
    heights), shares of ``young`` trees on top of the stems and of ``dead`` ones among them, ``planted`` in rows,
    ``shrubs`` and ``logs`` per hectare, ``herbs`` metres, ``slope`` a tangent, ``undulation`` metres."""

    kind: str
    stems: float
    stocking: float
    site: float
    young: float
    dead: float
    planted: bool
    shrubs: float
    logs: float
    herbs: float
    slope: float
    undulation: float

    def __post_init__(self) -> None:
        if self.kind not in STANDS:
            raise PerceptionError(f"no stand is called {self.kind!r}", f"one of {', '.join(STANDS)}")
        if not STEMS[0] <= self.stems <= STEMS[1]:
            raise PerceptionError(f"{self.stems} stems per hectare", f"from {STEMS[0]} to {STEMS[1]}")


@dataclass(frozen=True, eq=False)
class Trees:
    """A table of N trees, metres and radians: ``position`` (N, 3) of the stem's foot; ``height``, ``diameter`` at
    1.3 m (0 for trees lower than that), ``crown_diameter``, ``crown_base`` (N,); ``species`` (N,) rows of
    ``SPECIES``; ``lean`` (N, 2) metres that the top is aside of the foot."""

    position: np.ndarray
    height: np.ndarray
    diameter: np.ndarray
    crown_diameter: np.ndarray
    crown_base: np.ndarray
    species: np.ndarray
    lean: np.ndarray

    def __len__(self) -> int:
        return len(self.height)

    def names(self) -> np.ndarray:
        """Names of the species (N,) str."""
        return np.array([SPECIES[i].name for i in self.species], str)


def draw_plan(rng: np.random.Generator, kind: str | None = None, stems: float | None = None) -> StandPlan:
    """A random stand of 200 to 2000 stems per hectare, even over the logarithm; arguments that are given stand."""
    u = rng.random(12)
    return StandPlan(
        kind=kind if kind is not None else list(STANDS)[int(u[0] * len(STANDS))],
        stems=stems if stems is not None else 200 * 10 ** u[1],
        stocking=420 + 480 * u[2],
        site=0.85 + 0.35 * u[3],
        young=0.35 * u[4] ** 2,
        dead=0.08 * u[5] ** 2,
        planted=u[6] < 0.2,
        shrubs=500 * u[7] ** 2,
        logs=60 * u[8] ** 2,
        herbs=0.05 + 0.5 * u[9] ** 2,
        slope=0.45 * u[10] ** 2,
        undulation=0.15 + 0.8 * u[11],
    )


def grow_stand(plan: StandPlan, half: float, ground: Terrain, rng: np.random.Generator) -> Trees:
    """The trees within ``half`` metres of the origin along x and y, tallest first."""
    area = (2 * half) ** 2
    number = max(1, round(plan.stems * area / 1e4))
    quadratic_mean = 0.25 * (plan.stems / plan.stocking) ** (1 / REINEKE)
    diameter = np.sort(_weibull(number, np.clip(quadratic_mean, 0.06, 0.75), plan.planted, rng))[::-1]
    sapling = np.sort(0.01 + 0.06 * rng.random(int(plan.young * number)) ** 1.5)[::-1]
    diameter = np.concatenate([diameter, sapling])
    species = _species(plan, len(diameter), number, rng)
    height, crown, base = _crowns(plan, diameter, species, rng)
    spacing = np.where(np.arange(len(diameter)) < number, 0.52, 0.3) * np.sqrt(area / number)
    spacing = spacing * np.clip(diameter / quadratic_mean, 0.5, 1.4) ** 0.5
    xy = _places(plan, spacing, half, rng)
    order = np.argsort(-height, kind="stable")
    lean = height[:, None] * 0.035 * (rng.random((len(height), 2)) + rng.random((len(height), 2)) - 1)
    position = np.column_stack([xy, ground.height(xy[:, 0], xy[:, 1])])
    diameter = np.where(height > BREAST, diameter, 0.0)
    return Trees(*(v[order] for v in (position, height, diameter, crown, base, species, lean)))


def _weibull(number: int, quadratic_mean: float, planted: bool, rng: np.random.Generator) -> np.ndarray:
    """Diameters in metres of a Weibull distribution (Bailey and Dell 1973) of the wanted quadratic mean."""
    shape = 5.0 if planted else 1.8 + 2.4 * rng.random()
    values = (-np.log1p(-rng.random(number))) ** (1 / shape)
    values = np.clip(values, 0.22, 1.9)
    return np.maximum(values * quadratic_mean / np.sqrt((values**2).mean()), 0.04)


def _species(plan: StandPlan, total: int, upper: int, rng: np.random.Generator) -> np.ndarray:
    kinds, shares = zip(*STANDS[plan.kind])
    edges = np.cumsum(shares) / np.sum(shares)
    pick = np.minimum(np.searchsorted(edges, rng.random(total)), len(kinds) - 1)
    species = np.array([SPECIES.index(kind) for kind in kinds])[pick]
    dead = (rng.random(total) < plan.dead) & (np.arange(total) < upper)
    return np.where(dead, SPECIES.index(DEAD), species)


def _crowns(
    plan: StandPlan, diameter: np.ndarray, species: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heights, crown diameters and heights of the crowns' bases; a tree of the upper storey varies by some per cent."""
    height, crown, base = (np.zeros(len(diameter)) for _ in range(3))
    spread = rng.random((3, len(diameter)))
    crowded = np.clip(plan.stems / 1500, 0, 1)
    for row, kind in enumerate(SPECIES):
        mine = species == row
        height[mine] = _site_height(diameter[mine], kind, plan.site) * (0.9 + 0.2 * spread[0, mine])
        crown[mine] = crown_diameter_of(diameter[mine], height[mine], kind) * (0.85 + 0.3 * spread[1, mine])
        low, high = kind.crown_share
        share = high - (high - low) * (0.35 * spread[2, mine] + 0.65 * crowded)
        # saplings keep their branches to the ground
        share = np.where(diameter[mine] < 0.07, np.maximum(share, 0.85), share)
        base[mine] = height[mine] * (1 - share)
    return height, np.maximum(crown, 0.12 * height), base


def _site_height(diameter: np.ndarray, kind: Species, site: float) -> np.ndarray:
    return BREAST + (height_of(diameter, kind) - BREAST) * site


def _places(plan: StandPlan, spacing: np.ndarray, half: float, rng: np.random.Generator) -> np.ndarray:
    """Places (N, 2) at least the mean of their ``spacing`` apart (dart throwing); the distance shrinks where no place
    is found in some trials, but never below a quarter."""
    places = np.empty((len(spacing), 2))
    rows = max(np.sqrt((2 * half) ** 2 / len(spacing)), 1.0)
    for i, own in enumerate(spacing):
        limit = (spacing[:i] + own) / 2
        shrink = 1.0
        while True:
            candidate = half * (2 * rng.random((16, 2)) - 1)
            if plan.planted:
                candidate[:, 0] = np.round(candidate[:, 0] / rows) * rows + 0.15 * (candidate[:, 1] % 1 - 0.5)
                candidate[:, 0] = np.clip(candidate[:, 0], -half, half)
            gap = np.hypot(candidate[:, None, 0] - places[None, :i, 0], candidate[:, None, 1] - places[None, :i, 1])
            free = np.flatnonzero((gap >= shrink * limit).all(1))
            if len(free) or shrink < 0.26:
                places[i] = candidate[free[0] if len(free) else int(np.argmax((gap / limit).min(1)))]
                break
            shrink *= 0.93
    return places
