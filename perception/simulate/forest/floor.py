"""What stands and lies between the trees: shrubs, lying logs, stumps."""

from __future__ import annotations

import numpy as np

from perception.simulate.forest.parts import LOW_VEGETATION, UNCLASSIFIED, Parts, foliage, join, wood
from perception.simulate.forest.stand import StandPlan
from perception.simulate.forest.terrain import Terrain

BARK = 0.3


def build_floor(plan: StandPlan, half: float, ground: Terrain, rng: np.random.Generator) -> Parts:
    """Shrubs in clumps (class low vegetation), logs and stumps (unclassified) within ``half`` metres."""
    hectares = (2 * half) ** 2 / 1e4
    shrubs, logs = int(plan.shrubs * hectares), int(plan.logs * hectares)
    return join([_shrubs(shrubs, half, ground, rng), _logs(logs, half, ground, rng), _stumps(logs, half, ground, rng)])


def _shrubs(count: int, half: float, ground: Terrain, rng: np.random.Generator) -> Parts:
    groups = max(1, count // 6)
    middle = half * (2 * rng.random((groups, 2)) - 1)
    spread = 5 * (rng.random((count, 2)) + rng.random((count, 2)) - 1)
    place = np.clip(middle[np.arange(count) % groups] + spread, -half, half)
    height = 0.4 + 2.0 * rng.random(count) ** 1.6
    lobes = 5
    reach = np.repeat(0.35 * height + 0.15, lobes)
    offset = rng.random((count * lobes, 3)) - 0.5
    centre = np.repeat(np.column_stack([place, ground.height(place[:, 0], place[:, 1]) + 0.5 * height]), lobes, 0)
    centre = centre + offset * np.column_stack([1.6 * reach, 1.6 * reach, 0.6 * np.repeat(height, lobes)])
    size = reach * (0.4 + 0.4 * rng.random(count * lobes))
    radii = np.column_stack([size, size, 0.9 * size])
    along = np.broadcast_to([1.0, 0, 0.3], centre.shape)
    return foliage(centre, along, radii, 0, 1.4, LOW_VEGETATION, 0.45)


def _logs(count: int, half: float, ground: Terrain, rng: np.random.Generator) -> Parts:
    """Fallen stems that follow the ground in three pieces."""
    place, bearing = half * (2 * rng.random((count, 2)) - 1), 2 * np.pi * rng.random(count)
    length, radius = 2 + 12 * rng.random(count), 0.06 + 0.18 * rng.random(count) ** 1.5
    heading = np.stack([np.cos(bearing), np.sin(bearing)], -1)
    nodes = place[:, None] + heading[:, None] * (length[:, None] * np.linspace(0, 1, 4))[..., None]
    z = ground.height(nodes[..., 0], nodes[..., 1]) + radius[:, None] * np.linspace(1.0, 0.7, 4)
    points = np.concatenate([nodes, z[..., None]], -1)
    thick = radius[:, None] * np.linspace(1, 0.6, 4)
    radii = np.stack([thick[:, :-1], thick[:, 1:]], -1).reshape(-1, 2)
    return wood(points[:, :-1].reshape(-1, 3), points[:, 1:].reshape(-1, 3), radii, 0, UNCLASSIFIED, BARK)


def _stumps(count: int, half: float, ground: Terrain, rng: np.random.Generator) -> Parts:
    place = half * (2 * rng.random((count, 2)) - 1)
    foot = np.column_stack([place, ground.height(place[:, 0], place[:, 1])])
    top = foot + np.column_stack([np.zeros((count, 2)), 0.2 + 0.4 * rng.random(count)])
    radius = 0.1 + 0.2 * rng.random(count)
    return wood(foot, top, np.column_stack([1.2 * radius, radius]), 0, UNCLASSIFIED, BARK)
