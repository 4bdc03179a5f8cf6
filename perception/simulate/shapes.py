"""Solids that a ray from the sensor can meet: convex polyhedra, ellipsoids and upright cylinders.

Rays start at the sensor, the origin of the frame, so a point on a ray is distance times direction. Each solid answers
where rays enter and leave it; the material says whether they stop at the surface or somewhere inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np


@dataclass(frozen=True)
class Material:
    """``reflectance`` in [0, 1]; ``surface`` the share of rays stopped by the surface; the others run on through the
    inside for ``free_path`` metres on average, which makes leaves, spokes and the glass of cars."""

    reflectance: float
    surface: float = 1.0
    free_path: float = 0.0


@dataclass(frozen=True, eq=False)
class Crossing:
    """Of each ray: distances at which it enters and leaves, inf for a miss, and the cosine of incidence."""

    enter: np.ndarray
    leave: np.ndarray
    cosine: np.ndarray


@dataclass(frozen=True)
class Pose:
    """Where a local frame stands: position of its origin in metres and its heading in radians about +z."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    heading: float = 0.0

    def rotation(self) -> np.ndarray:
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])

    def translation(self) -> np.ndarray:
        return np.array([self.x, self.y, self.z])

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) of the local frame in the outer one."""
        return points @ self.rotation().T + self.translation()


class Shape(Protocol):
    """What ray casting asks of a solid."""

    @property
    def material(self) -> Material: ...

    def corners(self) -> np.ndarray:
        """Eight corners (8, 3) of a box around it, the bottom four in order about +z first."""
        ...

    def placed(self, pose: Pose) -> Shape:
        """The same solid with its present frame standing at ``pose``."""
        ...

    def cross(self, directions: np.ndarray) -> Crossing:
        """Crossings of rays with unit directions (..., 3)."""
        ...


@dataclass(frozen=True, eq=False)
class Convex:
    """The points with ``normals @ x <= offsets``: (P, 3) unit outward normals and (P,) metres, inside ``box``."""

    normals: np.ndarray
    offsets: np.ndarray
    box: np.ndarray
    material: Material

    def corners(self) -> np.ndarray:
        return self.box

    def placed(self, pose: Pose) -> Convex:
        normals = self.normals @ pose.rotation().T
        return replace(
            self, normals=normals, offsets=self.offsets + normals @ pose.translation(), box=pose.apply(self.box)
        )

    def cross(self, directions: np.ndarray) -> Crossing:
        shape = directions.shape[:-1]
        enter = np.zeros(shape, np.float32)
        leave = np.full(shape, np.inf, np.float32)
        cosine = np.zeros(shape, np.float32)
        for normal, offset in zip(self.normals.astype(np.float32), self.offsets.astype(np.float32)):
            towards = directions @ normal
            towards[towards == 0] = 1e-12
            distance = offset / towards
            entering = (towards < 0) & (distance > enter)
            enter = np.where(entering, distance, enter)
            cosine = np.where(entering, -towards, cosine)
            leave = np.where(towards > 0, np.minimum(leave, distance), leave)
        missed = (enter >= leave) | (enter <= 0)
        enter[missed] = np.inf
        return Crossing(enter, leave, cosine)


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """``centre`` (3,), ``radii`` (3,) along the columns of ``axes`` (3, 3)."""

    centre: np.ndarray
    radii: np.ndarray
    material: Material
    axes: np.ndarray = field(default_factory=lambda: np.eye(3))

    def corners(self) -> np.ndarray:
        reach = np.sqrt(((self.axes * self.radii) ** 2).sum(1))
        return _box(self.centre - reach, self.centre + reach)

    def placed(self, pose: Pose) -> Ellipsoid:
        return replace(self, centre=pose.apply(self.centre), axes=pose.rotation() @ self.axes)

    def cross(self, directions: np.ndarray) -> Crossing:
        to_sphere = (self.axes / self.radii).T
        d = directions @ to_sphere.T.astype(np.float32)
        c = (to_sphere @ self.centre).astype(np.float32)
        a, b = (d * d).sum(-1), d @ c
        # |t d - c| = 1 in the frame where the ellipsoid is the unit sphere
        return _from_quadratic(a, b, float(c @ c) - 1.0)


@dataclass(frozen=True, eq=False)
class Cylinder:
    """An upright cylinder: ``base`` (3,) centre of the bottom, radius and height in metres."""

    base: np.ndarray
    radius: float
    height: float
    material: Material

    def corners(self) -> np.ndarray:
        reach = np.array([self.radius, self.radius, 0.0])
        return _box(self.base - reach, self.base + reach + [0, 0, self.height])

    def placed(self, pose: Pose) -> Cylinder:
        return replace(self, base=pose.apply(self.base))

    def cross(self, directions: np.ndarray) -> Crossing:
        d = directions[..., :2]
        centre = self.base[:2].astype(np.float32)
        side = _from_quadratic((d * d).sum(-1), d @ centre, float(centre @ centre) - self.radius**2)
        rise = np.where(np.abs(directions[..., 2]) < 1e-9, np.float32(1e-9), directions[..., 2])
        bottom, top = self.base[2] / rise, (self.base[2] + self.height) / rise
        enter = np.maximum(side.enter, np.minimum(bottom, top))
        leave = np.minimum(side.leave, np.maximum(bottom, top))
        return Crossing(np.where((enter < leave) & (enter > 0), enter, np.inf), leave, side.cosine)


S = TypeVar("S", bound=Shape)


def cuboid(size: tuple[float, float, float], material: Material, pose: Pose = Pose()) -> Convex:
    """A box of length, width, height standing on the plane z = 0 of its frame."""
    length, width, height = size
    low, high = np.array([-length / 2, -width / 2, 0]), np.array([length / 2, width / 2, height])
    return Convex(
        np.concatenate([np.eye(3), -np.eye(3)]), np.concatenate([high, -low]), _box(low, high), material
    ).placed(pose)


def extruded(profile: np.ndarray, width: float, material: Material, taper: float = 0.0, chamfer: float = 0.0) -> Convex:
    """A convex outline (P, 2) in x and z, counter-clockwise seen from -y, made ``width`` metres thick along y.

    Seen from ahead the sides lean in by ``taper`` metres over the height of the outline; seen from above the four
    corners are cut by ``chamfer`` metres.
    """
    edges = np.roll(profile, -1, 0) - profile
    normals = np.stack([edges[:, 1], np.zeros(len(edges)), -edges[:, 0]], -1)
    anchors = np.stack([profile[:, 0], np.zeros(len(profile)), profile[:, 1]], -1)
    low, high = profile.min(0), profile.max(0)
    lean = taper / max(high[1] - low[1], 1e-6)
    sides = np.array([[0, 1, lean], [0, -1, lean]])
    side_anchors = np.array([[0, width / 2, low[1]], [0, -width / 2, low[1]]])
    planes, points = [normals, sides], [anchors, side_anchors]
    if chamfer > 0:
        signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
        planes.append(np.column_stack([signs * [0.6, 1.0], np.zeros(4)]))
        ends = np.where(signs[:, 0] > 0, high[0], low[0])
        points.append(np.column_stack([ends, signs[:, 1] * (width / 2 - chamfer), np.zeros(4)]))
    normals, anchors = np.concatenate(planes), np.concatenate(points)
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    box = _box(np.array([low[0], -width / 2, low[1]]), np.array([high[0], width / 2, high[1]]))
    return Convex(normals, (normals * anchors).sum(1), box, material)


def limb(start: tuple[float, ...], end: tuple[float, ...], radius: float, material: Material) -> Ellipsoid:
    """A slender ellipsoid from one joint to another."""
    a, b = np.array(start, float), np.array(end, float)
    along = (b - a) / np.linalg.norm(b - a)
    aside = np.cross(along, [1.0, 0, 0] if abs(along[0]) < 0.9 else [0, 1.0, 0])
    aside /= np.linalg.norm(aside)
    axes = np.stack([along, aside, np.cross(along, aside)], -1)
    return Ellipsoid((a + b) / 2, np.array([np.linalg.norm(b - a) / 2, radius, radius]), material, axes)


def _box(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    x = [high[0], low[0], low[0], high[0]]
    y = [high[1], high[1], low[1], low[1]]
    return np.column_stack([x * 2, y * 2, [low[2]] * 4 + [high[2]] * 4])


def _from_quadratic(a: np.ndarray, b: np.ndarray, c: float) -> Crossing:
    """Crossings at the roots of a t^2 - 2 b t + c = 0; a sensor inside the solid (c < 0) sees nothing of it."""
    root = np.sqrt(np.maximum(b * b - a * c, 0))
    hit = (b * b > a * c) & (b > 0) & (c > 0)
    a = np.maximum(a, 1e-9)
    enter = np.where(hit, (b - root) / a, np.inf).astype(np.float32)
    cosine = np.where(hit, root / np.maximum(b, 1e-9), 0.0)
    return Crossing(enter, ((b + root) / a).astype(np.float32), cosine.astype(np.float32))
