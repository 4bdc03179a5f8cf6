"""One revolution of a lidar through a scene of solids on a ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perception.simulate.ground import Surface, cast_ground
from perception.simulate.sensor import Lidar, Rays, revolution
from perception.simulate.shapes import Shape


@dataclass(frozen=True, eq=False)
class Returns:
    """What came back: ``xyz`` (N, 3) and ``intensity`` (N,) float32, ``owner`` (N,) int32, the group of shapes each
    return comes from or -1 for the ground; ``exposed`` (groups,) counts the rays that would reach each group if it
    stood alone, and ``first`` (groups,) those that meet it before anything else."""

    xyz: np.ndarray
    intensity: np.ndarray
    owner: np.ndarray
    exposed: np.ndarray
    first: np.ndarray


def cast(groups: Sequence[Sequence[Shape]], ground: Surface, lidar: Lidar, rng: np.random.Generator) -> Returns:
    """Returns of one revolution; a group is the shapes of one thing, so that its visible share can be told."""
    rays = revolution(lidar, rng)
    distance = cast_ground(ground, rays, lidar)
    owner = np.full(distance.shape, -1, np.int32)
    stamp = np.full(distance.shape, -1, np.int32)
    x, y = rays.directions[..., 0] * distance, rays.directions[..., 1] * distance
    met = np.isfinite(distance)
    brightness = np.zeros(distance.shape, np.float32)
    brightness[met] = ground.reflectance(x[met], y[met])
    exposed = np.zeros(len(groups), np.int64)
    for number, shapes in enumerate(groups):
        for shape in shapes:
            window = _window(shape.corners(), rays)
            if window is None:
                continue
            reach, cosine = _stops(shape, rays.directions[window], rng)
            hit = np.isfinite(reach) & (reach < lidar.reach)
            exposed[number] += int((hit & (stamp[window] != number)).sum())
            stamp[window] = np.where(hit, number, stamp[window])
            nearer = hit & (reach < distance[window])
            distance[window] = np.where(nearer, reach, distance[window])
            owner[window] = np.where(nearer, number, owner[window])
            shade = shape.material.reflectance * (0.35 + 0.65 * cosine)
            brightness[window] = np.where(nearer, shade, brightness[window])
    first = np.bincount(owner[owner >= 0], minlength=len(groups))
    beam, column = np.nonzero(_detected(distance, brightness, lidar, rng))
    reach = distance[beam, column]
    xyz = rays.directions[beam, column] * (reach + lidar.noise * _bell(rng, len(reach)))[:, None]
    intensity = np.clip(brightness[beam, column] * (1 + 0.3 * _bell(rng, len(reach))), 0, 1)
    return Returns(
        xyz.astype(np.float32),
        (np.round(intensity * 100) / 100).astype(np.float32),
        owner[beam, column],
        exposed,
        first,
    )


def _window(corners: np.ndarray, rays: Rays) -> tuple[slice, np.ndarray] | None:
    """Beams and columns that can meet a box of corners (8, 3), or None; all columns if the sensor is above it."""
    outline = corners[:4, :2]
    reach = np.hypot(outline[:, 0], outline[:, 1])
    edges = np.roll(outline, -1, 0) - outline
    side = edges[:, 0] * -outline[:, 1] + edges[:, 1] * outline[:, 0]
    if (side >= 0).all() or (side <= 0).all():
        return slice(0, len(rays.slope)), np.arange(len(rays.azimuth))[None, :].ravel()
    share = -(outline * edges).sum(1) / np.maximum((edges * edges).sum(1), 1e-9)
    feet = outline + edges * np.clip(share, 0, 1)[:, None]
    near, far = max(float(np.hypot(feet[:, 0], feet[:, 1]).min()), 1e-3), float(reach.max())
    bottom, top = corners[:, 2].min(), corners[:, 2].max()
    steepest = top / (near if top > 0 else far) + rays.slack
    lowest = bottom / (near if bottom < 0 else far) - rays.slack
    beams = np.flatnonzero((rays.slope <= steepest) & (rays.slope >= lowest))
    middle = np.arctan2(outline[:, 1].mean(), outline[:, 0].mean())
    corner_angle = _wrap(np.arctan2(outline[:, 1], outline[:, 0]) - middle)
    offset = _wrap(rays.azimuth - middle)
    columns = np.flatnonzero((offset >= corner_angle.min() - rays.slack) & (offset <= corner_angle.max() + rays.slack))
    if not len(beams) or not len(columns):
        return None
    return slice(beams[0], beams[-1] + 1), columns


def _stops(shape: Shape, directions: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Distances at which rays stop in a solid (inf: they miss it or pass through) and their cosine of incidence."""
    crossing = shape.cross(directions)
    stop = crossing.enter
    if shape.material.surface < 1:
        row = np.nonzero(np.isfinite(stop))
        inside = rng.random(len(row[0])) >= shape.material.surface
        # Beer and Lambert: the way until a leaf is met is exponential
        way = -np.log1p(-rng.random(len(row[0]))) * shape.material.free_path
        met = stop[row] + np.where(inside, way, 0)
        stop[row] = np.where(met < crossing.leave[row], met, np.inf)
    return stop, crossing.cosine


def _detected(distance: np.ndarray, brightness: np.ndarray, lidar: Lidar, rng: np.random.Generator) -> np.ndarray:
    """Which returns the receiver notices: fewer far away, and of those fewer from dark surfaces."""
    share = np.where(np.isfinite(distance), distance / lidar.reach, 2.0)
    faint = 0.25 / (0.05 + np.sqrt(np.maximum(brightness, 0)))
    lost = lidar.dropout + lidar.fading * share**2 * faint
    return (share < 1) & (rng.random(distance.shape) >= lost)


def _bell(rng: np.random.Generator, count: int) -> np.ndarray:
    """Nearly normal deviates of unit variance, from sums of uniform ones: the same for every version of numpy."""
    return (rng.random((3, count)).sum(0) - 1.5) * 2


def _wrap(angle: np.ndarray) -> np.ndarray:
    return (angle + np.pi) % (2 * np.pi) - np.pi
