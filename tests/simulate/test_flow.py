"""Streets in motion: flow brings points of things onto the same things, as the second scan's geometry has them."""

from __future__ import annotations

import numpy as np
import pytest

from perception.datasets.flow.classes import GROUPS
from perception.datasets.rigid import move
from perception.errors import PerceptionError
from perception.simulate.flow import StreetFlow, moving_street, street_flow
from perception.simulate.ground import cast_ground
from perception.simulate.sensor import HDL64, Lidar, revolution
from perception.simulate.shapes import Pose
from perception.simulate.street.scene import street

SMALL = Lidar(tuple(2.0 - i / 2 for i in range(50)), azimuth_step=0.5, noise=0.0)


def test_the_first_scan_is_the_street_that_stands_still() -> None:
    assert np.array_equal(street_flow(5, SMALL).pair.first.xyz, street(5, SMALL).cloud.xyz)


def test_same_seed_same_pair_other_seed_another() -> None:
    one, same, other = street_flow(8, SMALL), street_flow(8, SMALL), street_flow(9, SMALL)
    assert one.labels is not None
    assert same.labels is not None
    assert np.array_equal(one.pair.second.xyz, same.pair.second.xyz)
    assert np.array_equal(one.labels.flow, same.labels.flow)
    assert np.array_equal(one.pair.pose, same.pair.pose)
    assert not np.array_equal(one.pair.first.xyz[:100], other.pair.first.xyz[:100])


@pytest.mark.parametrize("seed", [1, 3, 5])
def test_moved_points_lie_on_the_things_that_the_second_scan_sees(seed: int) -> None:
    """The second scan's own rays, sent through a moved point, meet the same solids there: the flow is exact."""
    world, sample = moving_street(seed, SMALL), street_flow(seed, SMALL)
    labels = sample.labels
    assert labels is not None
    there = sample.pair.first.xyz.astype(np.float64) + labels.flow
    groups = world.later()
    owner = sample.pair.first.fields["group"]
    met = 0
    for group in np.unique(owner[labels.moving]):
        points = there[(owner == group)]
        # Surfaces alone: rays that pass through windows and spokes end inside.
        solid = [shape for shape in groups[group] if shape.material.surface >= 0.95]
        distance = np.linalg.norm(points, axis=1)
        directions = (points / distance[:, None]).astype(np.float32)
        before = [shape for shape in world.scene.groups[group] if shape.material.surface >= 0.95]
        start = sample.pair.first.xyz[owner == group]
        reach = np.linalg.norm(start, axis=1)
        on_surface = _nearest_surface(before, (start / reach[:, None]).astype(np.float32), reach) < 1e-3
        gap = _nearest_surface(solid, directions, distance)[on_surface]
        # Seen from the new place a few points have gone behind an edge of their thing.
        assert (gap < 0.02).sum() >= 0.8 * len(gap) or len(gap) < 10
        met += int(on_surface.sum())
    assert met > 20


def _nearest_surface(shapes, directions: np.ndarray, distance: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    gaps = [np.full(len(distance), np.inf)]
    for shape in shapes:
        crossing = shape.cross(directions)
        for at in (crossing.enter, crossing.leave):
            with np.errstate(invalid="ignore"):
                gaps.append(np.nan_to_num(np.abs(at - distance), nan=np.inf))
    return np.min(gaps, axis=0)


def test_still_things_move_with_the_sensor_alone() -> None:
    sample = street_flow(2, SMALL)
    labels = sample.labels
    assert labels is not None
    assert np.linalg.norm(sample.pair.pose[:3, 3]) > 0.3
    still = sample.pair.first.fields["group"] < 0
    assert np.array_equal(labels.flow[still], sample.pair.ego_flow()[still])
    assert np.array_equal(sample.pair.first.fields["ground"], still)
    assert labels.valid.all()
    # The first scan's ground, moved, is the ground that the second scan stands on.
    world = moving_street(2, SMALL)
    moved = move(sample.pair.first.xyz[still], sample.pair.pose)
    sensor = world.sensor
    x, y = (Pose(sensor.x, sensor.y, 0, sensor.heading).apply(moved)).T[:2]
    np.testing.assert_allclose(world.scene.ground.height(x, y) - sensor.z, moved[:, 2], atol=0.12)


def test_categories_and_movers_over_many_streets() -> None:
    seen, moving = set(), 0
    for seed in range(6):
        labels = street_flow(seed, SMALL).labels
        assert labels is not None
        seen |= set(labels.category.tolist())
        moving += int(labels.moving.any())
        assert (labels.box[labels.moving] >= 0).all()
    assert seen & set(GROUPS["CAR"])
    assert seen & set(GROUPS["PEDESTRIAN"])
    assert moving >= 4


def test_data_set() -> None:
    pairs = StreetFlow(2, seed=3, sensor="hdl32")
    assert len(pairs[1].pair.first) > 1000
    with pytest.raises(IndexError):
        pairs[2]
    for wrong in ({"length": -1}, {"length": 1, "seconds": 0.0}, {"length": 1, "sensor": "none"}):
        with pytest.raises(PerceptionError):
            StreetFlow(**wrong)  # type: ignore[arg-type]
    rays = revolution(SMALL, np.random.Generator(np.random.PCG64(0)))
    assert np.isfinite(cast_ground(moving_street(0, HDL64).scene.ground, rays, SMALL)).any()
