"""Clouds as octrees of occupied cells: what the place models on octrees start from (Wang et al. 2017, O-CNN)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.points import PointBatch
from perception.sparse import Octree, Sites
from perception.sparse.morton import morton_coordinates, morton_keys
from perception.sparse.scatter import scatter_mean

Coordinates = Literal["cartesian", "cylindrical"]
Border = Literal["wrap", "clamp"]


@dataclass(frozen=True, eq=False)
class OctreeCloud:
    """``octree`` of a batch and ``features`` (N, 3) of its leaves in their order: mean point in [-1, 1], x y z."""

    octree: Octree
    features: Tensor

    @property
    def depth(self) -> int:
        return self.octree.levels[0].depth

    @property
    def batch_size(self) -> int:
        return self.octree.levels[0].sites.batch_size


def octree_cloud(points: PointBatch, depth: int, top: int, border: Border = "wrap") -> OctreeCloud:
    """The octree of points in [-1, 1], from ``depth`` up to ``top``.

    A coordinate of exactly 1 lies one cell beyond the grid. ocnn's keys keep the lowest bits of the cell alone, so it
    ``wrap``s to cell 0 (its feature stays 1), as published weights have seen it; ``clamp`` takes the last cell.
    """
    scaled = (points.xyz + 1.0) * 2.0 ** (depth - 1)
    cells = scaled.floor().long()
    last = 2**depth - 1
    cells = cells & last if border == "wrap" else cells.clamp(0, last)
    keys = morton_keys(torch.cat([points.sample[:, None], cells.flip(1)], 1), depth)
    leaves, leaf = keys.unique(return_inverse=True)
    features = scatter_mean(scaled, leaf, len(leaves)) * 2.0 ** (1 - depth) - 1.0
    sites = Sites(morton_coordinates(leaves, depth), (2**depth,) * 3, points.batch_size, (1, 1, 1), "morton")
    return OctreeCloud(Octree.of(sites, depth, top), features)


def into_unit_cube(points: PointBatch) -> PointBatch:
    """Each cloud with the centre of its bounding box at zero and its longest side from -1 to 1."""
    sample, shape = points.sample[:, None].expand_as(points.xyz), (points.batch_size, 3)
    low = points.xyz.new_full(shape, math.inf).scatter_reduce(0, sample, points.xyz, "amin")
    high = points.xyz.new_full(shape, -math.inf).scatter_reduce(0, sample, points.xyz, "amax")
    # In the published order of operations: whether the outermost point comes to exactly 1 hangs on it.
    centre, scale = (low + high) * 0.5, 2.0 / ((high - low).amax(1, keepdim=True) + 1e-6)
    return _of(points, (points.xyz - centre[points.sample]) * scale[points.sample])


def inside_unit(points: PointBatch, coordinates: Coordinates) -> PointBatch:
    """The points of the cube from -1 to 1, or of the cylinder of radius 1 in it."""
    inside = (points.xyz.abs() <= 1.0).all(1)
    if coordinates == "cylindrical":
        inside &= points.xyz[:, :2].norm(dim=1) <= 1.0
    return PointBatch(points.values[inside], points.sample[inside], points.batch_size)


def within(points: PointBatch, radius: float) -> PointBatch:
    """The points at most ``radius`` from the z axis; PerceptionError for a cloud that has none there."""
    distance = points.xyz[:, :2].norm(dim=1)
    near = distance <= radius
    kept = PointBatch(points.values[near], points.sample[near], points.batch_size)
    counts = kept.sample.bincount(minlength=points.batch_size)
    if (counts == 0).any():
        cloud = int((counts == 0).nonzero()[0])
        there = distance[points.sample == cloud]
        nearest = f", the nearest is at {float(there.min()):,.0f} m" if len(there) else ""
        raise PerceptionError(
            f"cloud {cloud} of {points.batch_size} has no point within {radius:g} m of its origin{nearest}",
            "a scan in the frame of its sensor, in metres",
            "subtract the sensor's position, or its middle from a submap",
        )
    return kept


def turned(points: PointBatch, turns: int) -> PointBatch:
    """Each cloud at evenly spaced turns about z: cloud b at turn t is cloud b * turns + t."""
    if turns == 1:
        return points
    angle = torch.arange(turns, device=points.xyz.device, dtype=torch.float64) * (2 * math.pi / turns)
    cos, sin = angle.cos().to(points.xyz.dtype)[:, None], angle.sin().to(points.xyz.dtype)[:, None]
    x, y = points.xyz[:, 0], points.xyz[:, 1]
    values = points.values.expand(turns, -1, -1).clone()
    values[..., 0], values[..., 1] = cos * x - sin * y, sin * x + cos * y
    sample = points.sample * turns + torch.arange(turns, device=points.sample.device)[:, None]
    return PointBatch(values.flatten(0, 1), sample.flatten(), points.batch_size * turns)


def cylindrical(points: PointBatch) -> PointBatch:
    """x y z of the unit cylinder as distance, direction and height, each from -1 to 1."""
    xyz = points.xyz
    distance = (xyz[:, 0] ** 2 + xyz[:, 1] ** 2).sqrt().double() * 2 - 1
    direction = torch.atan2(xyz[:, 1], xyz[:, 0]).double() / math.pi
    turned = torch.stack([distance.to(xyz.dtype), direction.to(xyz.dtype), xyz[:, 2]], 1)
    return _of(points, turned.clamp(-1.0, 1.0))


def no_empty_cloud(points: PointBatch, where: str, fix: str) -> None:
    """Raise PerceptionError where a cloud of the batch has no points: nothing can be said of its place."""
    counts = points.sample.bincount(minlength=points.batch_size)
    empty = (counts == 0).nonzero()[:, 0].tolist()
    if empty:
        raise PerceptionError(
            f"cloud {empty[0]} of {points.batch_size} has no points{where}", "at least one point in every cloud", fix
        )


def _of(points: PointBatch, xyz: Tensor) -> PointBatch:
    return PointBatch(torch.cat([xyz, points.values[:, 3:]], 1), points.sample, points.batch_size)
