from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.ground import estimate_ground
from perception.io.clouds import read_points
from perception.simulate.dataset import StreetDataset


def terrain(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 0.08 * x + 2 * np.sin(y / 30)


def scene(points: int = 60_000) -> tuple[np.ndarray, np.ndarray]:
    """Rolling ground with a large house, cars and tall trees, and points below it; which points are of the ground."""
    generator = np.random.default_rng(0)
    x, y = generator.uniform(-60, 60, (2, points))
    z = terrain(x, y) + generator.normal(0, 0.02, points)
    ground = np.ones(points, bool)
    house = (np.abs(x - 20) < 15) & (np.abs(y + 10) < 10)
    z[house] += 8
    for centre_x, centre_y in [(-20, 5), (-30, 20), (0, 40)]:
        car = (np.abs(x - centre_x) < 2) & (np.abs(y - centre_y) < 1)
        z[car] += 1.5
        ground &= ~car
    crown = (np.hypot(x + 40, y + 30) < 6) & (generator.random(points) < 0.8)
    z[crown] += generator.uniform(5, 20, crown.sum())
    stray = generator.random(points) < 0.002
    z[stray] -= generator.uniform(2, 10, stray.sum())
    return np.stack([x, y, z], 1), ground & ~house & ~crown & ~stray


def test_objects_do_not_lift_the_ground_and_stray_points_do_not_lower_it() -> None:
    xyz, ground = scene()
    error = estimate_ground(xyz).at(xyz[:, :2]) - terrain(xyz[:, 0], xyz[:, 1])
    assert np.abs(error[ground]).mean() < 0.1
    assert np.quantile(np.abs(error), 0.99) < 1.5, "also beneath the house"


def test_the_grid_does_not_depend_on_where_the_cloud_begins() -> None:
    xyz, _ = scene(20_000)
    whole = estimate_ground(xyz)
    part = xyz[xyz[:, 0] > -33.7]
    again = estimate_ground(part)
    middle = np.array([[0.0, 0.0], [10.0, 30.0], [-10.0, -45.0]])
    np.testing.assert_allclose(whole.at(middle), again.at(middle), atol=0.05)
    assert again.corner[0] == -34.0


def test_the_road_beneath_a_generated_street() -> None:
    cloud = StreetDataset(1, 3)[0].cloud
    near = cloud.xyz[np.abs(cloud.xyz[:, :2]).max(1) < 20]
    below = estimate_ground(near).at(np.array([[5.0, 0.0], [10.0, 0.0]]))
    np.testing.assert_allclose(below, -1.73, atol=0.25)


def test_the_road_beneath_a_real_scan(shared_data: Path) -> None:
    cloud = read_points(shared_data / "kitti_object/training/velodyne/000002.bin")
    heights = estimate_ground(cloud.xyz).at(np.array([[6.0, 0.0], [10.0, 0.0], [15.0, 0.0]]))
    np.testing.assert_allclose(heights, -1.7, atol=0.25)  # the sensor rides 1.73 m above the road


def test_few_points() -> None:
    assert estimate_ground(np.zeros((0, 3))).at(np.array([[3.0, 4.0]])).tolist() == [0.0]
    assert estimate_ground(np.array([[5.0, 5.0, -2.0]])).at(np.array([[100.0, 4.0]])).tolist() == [-2.0]
    with pytest.raises(PerceptionError, match="not finite"):
        estimate_ground(np.array([[0.0, np.nan, 0.0]]))
