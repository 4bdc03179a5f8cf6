"""Rays against solids, compared with distances known from geometry."""

from __future__ import annotations

import numpy as np
import pytest

from perception.simulate.ground import Ground, cast_ground
from perception.simulate.raycast import cast
from perception.simulate.sensor import HDL64, Lidar, revolution
from perception.simulate.shapes import Cylinder, Ellipsoid, Material, Pose, Shape, cuboid, extruded, limb
from perception.simulate.street.scenery import LEAVES

STONE = Material(0.5)
AHEAD = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0]], np.float32)
SHAPES: list[tuple[Shape, float, float]] = [
    (cuboid((2, 4, 6), STONE, Pose(10, 0, -3)), 9, 11),
    (cuboid((2, 4, 6), STONE, Pose(10, 0, -3, np.pi / 2)), 8, 12),
    (Ellipsoid(np.array([10.0, 0, 0]), np.array([3.0, 1, 1]), STONE), 7, 13),
    (Ellipsoid(np.zeros(3), np.array([3.0, 1, 1]), STONE).placed(Pose(10, 0, 0, np.pi / 2)), 9, 11),
    (Cylinder(np.array([10.0, 0, -1]), 0.5, 2, STONE), 9.5, 10.5),
    (extruded(np.array([[-2, -1], [2, -1], [2, 1], [-2, 1.0]]), 2, STONE, chamfer=0.2).placed(Pose(10)), 8, 12),
    (limb((9, 0, 0), (11, 0, 0), 0.1, STONE), 9, 11),
]


@pytest.mark.parametrize(("shape", "enter", "leave"), SHAPES)
def test_rays_enter_and_leave_where_geometry_says(shape: Shape, enter: float, leave: float) -> None:
    crossing = shape.cross(AHEAD)
    assert crossing.enter[0] == pytest.approx(enter, abs=1e-4)
    assert crossing.leave[0] == pytest.approx(leave, abs=1e-4)
    assert np.isinf(crossing.enter[1:]).all(), "behind and beside the sensor"


@pytest.mark.parametrize(("shape", "enter", "leave"), SHAPES)
def test_hits_lie_inside_the_corners(shape: Shape, enter: float, leave: float) -> None:
    rng = np.random.default_rng(0)
    directions = np.array([1, 0, 0]) + 0.2 * rng.standard_normal((50_000, 3))
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    reach = shape.cross(directions).enter
    hit = np.isfinite(reach)
    points = directions[hit] * reach[hit, None]
    assert hit.sum() > 20
    assert (points >= shape.corners().min(0) - 1e-3).all()
    assert (points <= shape.corners().max(0) + 1e-3).all()


def flat(level: float = -1.73) -> Ground:
    return Ground(level, (0, 0), np.zeros((0, 4)), 0.0, 0.0, road=4.0, kerb=0.0)


def test_flat_ground_is_met_at_height_over_tangent() -> None:
    rays = revolution(HDL64, np.random.default_rng(0))
    distance = cast_ground(flat(), rays, HDL64)
    down = rays.directions[..., 2]
    expected = np.where(down < 0, -1.73 / np.minimum(down, -1e-9), np.inf)
    met = np.isfinite(distance)
    assert met[expected < 79].all()
    assert np.abs(distance[met] / expected[met] - 1).max() < 1e-3


def test_windows_lose_no_ray() -> None:
    """Casting at the window of a shape finds as many hits as trying every ray, also behind the sensor and close by."""
    lidar = Lidar(tuple(10.0 - i for i in range(30)), azimuth_step=0.5, dropout=0, fading=0, noise=0)
    for place in (Pose(-8, 0.1, -1, 0.3), Pose(2.2, 1.5, -2, 1.0), Pose(0, -20, -1), Pose(15, 15, -1.7, 2.0)):
        shape = cuboid((3, 2, 2), STONE, place)
        returns = cast([(shape,)], flat(-50.0), lidar, np.random.default_rng(0))
        every = np.isfinite(shape.cross(revolution(lidar, np.random.default_rng(0)).directions).enter).sum()
        assert returns.exposed[0] == every == (returns.owner == 0).sum() > 0


def test_leaves_let_some_rays_through_and_walls_none() -> None:
    lidar = Lidar(tuple(4.0 - 0.2 * i for i in range(40)), azimuth_step=0.2, dropout=0, fading=0)
    wall = cuboid((0.3, 8, 6), STONE, Pose(12, 0, -3))
    crown = Ellipsoid(np.array([8.0, 0, 0]), np.array([1.0, 1, 1]), LEAVES)
    solid = Ellipsoid(np.array([8.0, 0, 0]), np.array([1.0, 1, 1]), STONE)
    through = cast([(crown,), (wall,)], flat(), lidar, np.random.default_rng(0))
    blocked = cast([(solid,), (wall,)], flat(), lidar, np.random.default_rng(0))
    assert 0.1 < through.exposed[0] / blocked.exposed[0] < 0.95
    assert through.first[1] > blocked.first[1]
    assert blocked.first[0] == blocked.exposed[0]
    assert blocked.first[1] < blocked.exposed[1]
