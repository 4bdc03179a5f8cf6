"""Generated loops: a world is revisited the other way round, and every scan follows from its numbers."""

from __future__ import annotations

import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.simulate.loops.course import closed_course
from perception.simulate.loops.dataset import LoopDataset
from perception.simulate.loops.visit import laps
from perception.simulate.loops.world import KINDS, make_world


@pytest.fixture(scope="module")
def loops() -> LoopDataset:
    return LoopDataset(2, seed=5, length=240.0, spacing=12.0, sensors=("hdl32",))


def test_a_course_is_closed_and_as_long_as_asked() -> None:
    course = closed_course(300.0, np.random.default_rng(0))
    steps = np.linalg.norm(np.diff(course.points, axis=0, append=course.points[:1]), axis=1)
    assert len(course.points) == 300
    assert steps.max() < 1.3
    turns = np.diff(np.unwrap(np.append(course.headings, course.headings[0])))
    assert turns.sum() == pytest.approx(2 * np.pi, abs=0.2)


def test_samples_follow_from_their_numbers(loops: LoopDataset) -> None:
    again = LoopDataset(2, seed=5, length=240.0, spacing=12.0, sensors=("hdl32",))
    np.testing.assert_array_equal(loops[7].cloud.xyz, again[7].cloud.xyz)
    other = LoopDataset(2, seed=5, length=240.0, spacing=12.0, sensors=("hdl32",), split="test")
    assert not np.array_equal(other[7].position, loops[7].position)


def test_the_second_lap_runs_the_other_way_past_the_same_places(loops: LoopDataset) -> None:
    along, lap = laps(240.0, 12.0)
    assert len(along) * 2 == len(loops)
    first, second = (np.array([loops.pose(i) for i in range(len(along)) if lap[i] == number]) for number in (0, 1))
    apart = np.linalg.norm(first[:, None, :2] - second[None, :, :2], axis=2)
    assert apart.min(1).max() < 12.0
    nearest = apart.argmin(1)
    turned = np.abs(np.angle(np.exp(1j * (first[:, 2] - second[nearest, 2]))))
    assert turned.min() > 2.4


def test_the_table_agrees_with_the_samples(loops: LoopDataset) -> None:
    table = loops.table
    assert len(table) == len(loops)
    row = len(loops) // 2 + 3
    np.testing.assert_array_equal(table.positions[row], loops[row].position)
    assert table.regions[row] == loops[row].region == 1
    assert len(table.names) == 4


@pytest.mark.parametrize("index", [2, 45])
def test_a_scan_sees_its_surroundings(loops: LoopDataset, index: int) -> None:
    xyz = loops[index].cloud.xyz
    assert len(xyz) > 2000
    assert np.median(xyz[:, 2]) == pytest.approx(-1.84, abs=1.0)  # most of it is the ground below the sensor
    assert (xyz[:, 2] > 0.5).sum() > 50


def test_what_is_parked_differs_between_laps_and_houses_do_not(loops: LoopDataset) -> None:
    world = loops._world(0)
    assert world.kind == "street"
    assert 0.02 < 1 - np.mean(world.stays) < 0.8
    assert all(loops._world(1).stays)  # of a forest


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_stands_on_the_way(kind: str) -> None:
    world = make_world(kind, 240.0, 11)
    places = np.array(world.place)
    assert len(places) > 30
    distance = world.ground.distance(places[:, 0], places[:, 1])
    assert distance.min() > world.ground.half - 2.3


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(PerceptionError, match="kind"):
        make_world("desert", 240.0, 0)
    with pytest.raises(PerceptionError, match="street"):
        LoopDataset(1, kinds=("strete",))
    with pytest.raises(PerceptionError, match="spacing"):
        LoopDataset(1, spacing=0.0)
    with pytest.raises(IndexError):
        LoopDataset(1)[10_000]
