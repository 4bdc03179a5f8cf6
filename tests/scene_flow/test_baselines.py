"""Flow without learning: made scenes with a known answer, and what must come out of odd input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perception.datasets.flow.pairs import with_ground
from perception.datasets.rigid import inverse
from perception.points import PointCloud
from perception.scan_pair import ScanPair
from perception.scene_flow.clusters import cluster, occupied_cells
from perception.scene_flow.icp_clusters import cluster_flow
from perception.scene_flow.many_icp import Motions, align_many, centres
from perception.scene_flow.methods import BASELINES, default_method, flow_method
from perception.scene_flow.nearest import nearest_flow
from perception.scene_flow.votes import vote
from perception.simulate.flow import street_flow


def box_surface(
    rng: np.random.Generator, centre: tuple[float, float, float], size: tuple[float, float, float]
) -> np.ndarray:
    points = rng.uniform(-0.5, 0.5, (400, 3))
    face = rng.integers(0, 3, 400)
    points[np.arange(400), face] = np.where(rng.random(400) < 0.5, -0.5, 0.5)
    return points * size + centre


def scene() -> tuple[ScanPair, np.ndarray, np.ndarray]:
    """A house, a parked car and one that drives 1.2 m and turns a little; the sensor moves too. Nothing is noisy."""
    rng = np.random.Generator(np.random.PCG64(4))
    house = box_surface(rng, (20, 10, 2), (30, 1, 5))
    parked = box_surface(rng, (6, -4, 0.8), (4.3, 1.8, 1.5))
    driving = box_surface(rng, (-8, 3, 0.8), (4.3, 1.8, 1.5))
    cos, sin = np.cos(0.05), np.sin(0.05)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    later = (driving - [-8, 3, 0.8]) @ turn.T + [-6.8, 3.1, 0.8]
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn.T, (-0.7, 0.05, 0.0)
    first = np.concatenate([house, parked, driving])
    second = np.concatenate([house, parked, later]) @ pose[:3, :3].T + pose[:3, 3]
    moving = np.arange(len(first)) >= 800
    clouds = [with_ground(PointCloud(xyz), np.zeros(len(xyz), bool)) for xyz in (first, second)]
    return ScanPair(clouds[0], clouds[1], pose), second - first, moving


def test_clusters_find_what_moves_and_how() -> None:
    pair, flow, moving = scene()
    found = cluster_flow(pair)
    assert np.array_equal(found.moving.numpy(), moving)
    assert np.linalg.norm(found.flow.numpy() - flow, axis=1).max() < 0.02


def test_the_frame_of_the_scans_does_not_matter() -> None:
    """The same scene far from the origin of a map."""
    pair, flow, moving = scene()
    origin = np.array([691_000.0, 5_334_000.0, 500.0])
    to_map = np.eye(4)
    to_map[:3, 3] = origin
    pose = to_map @ pair.pose @ inverse(to_map)
    clouds = [PointCloud(c.xyz, c.fields, origin) for c in (pair.first, pair.second)]
    found = cluster_flow(ScanPair(clouds[0], clouds[1], pose))
    assert np.array_equal(found.moving.numpy(), moving)
    assert np.linalg.norm(found.flow.numpy() - flow, axis=1).max() < 0.02


def test_nearest_is_the_ego_motion_where_nothing_moves() -> None:
    pair, flow, moving = scene()
    found = nearest_flow(pair)
    np.testing.assert_allclose(found.flow.numpy()[~moving], flow[~moving], atol=1e-5)
    assert not found.moving.numpy()[~moving].any()
    assert found.moving.numpy()[moving].mean() > 0.9


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_odd_input(name: str) -> None:
    method = flow_method(name)
    cloud, empty = PointCloud(np.random.default_rng(0).normal(size=(50, 3)) * 5), PointCloud(np.zeros((0, 3)))
    pose = np.eye(4)
    pose[0, 3] = 2.0
    assert method(ScanPair(empty, cloud, pose)).flow.shape == (0, 3)
    alone = method(ScanPair(cloud, empty, pose))
    np.testing.assert_allclose(alone.flow, np.tile([2.0, 0, 0], (50, 1)), atol=1e-6)
    assert not alone.moving.any()
    same = method(ScanPair(cloud, cloud))
    assert not same.flow.any()
    assert not same.moving.any()
    far = PointCloud(cloud.xyz + 1000)
    assert not method(ScanPair(cloud, far)).moving.any()
    one = PointCloud(np.ones((1, 3)))
    assert method(ScanPair(one, one)).flow.shape == (1, 3)
    holes = PointCloud(np.where(np.arange(50)[:, None] == 3, np.nan, cloud.xyz))
    found = method(ScanPair(holes, holes))
    assert found.flow[torch.arange(50) != 3].isfinite().all()


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_same_bits(name: str) -> None:
    pair = street_flow(1).pair
    one, other = flow_method(name)(pair), flow_method(name)(pair)
    assert torch.equal(one.flow, other.flow)
    assert torch.equal(one.moving, other.moving)


def test_the_ground_never_moves() -> None:
    pair, _, _ = scene()
    marked = ScanPair(with_ground(pair.first, np.ones(len(pair.first), bool)), pair.second, pair.pose)
    for method in BASELINES.values():
        found = method(marked)
        assert np.array_equal(found.flow.numpy(), marked.ego_flow())
        assert not found.moving.any()


def test_default_method_is_one_that_there_is() -> None:
    assert flow_method(default_method()).name


def test_cells_and_clusters() -> None:
    line = np.column_stack([np.arange(0, 5, 0.1), np.zeros(50), np.zeros(50)])
    apart = np.concatenate([line, line + np.array([0, 2, 0]), line[:1] + np.array([20, 0, 0])])
    found = cluster(apart, 0.5, 0.1)
    assert len(np.unique(found)) == 3
    assert len(np.unique(found[:50])) == len(np.unique(found[50:100])) == 1
    cells = occupied_cells(np.array([[0, 0, 0], [0.05, 0, 0], [1, 0, 0]]), 0.1)
    assert cells.cell.tolist() == [0, 0, 1]
    np.testing.assert_allclose(cells.centre[0], [0.025, 0, 0])
    assert len(cluster(np.zeros((0, 3)), 1, 0.1)) == 0


def test_votes() -> None:
    rng = np.random.default_rng(1)
    things = [rng.normal(size=(60, 3)) + np.array([10 * i, 0, 0]) for i in range(3)]
    ways = np.array([[1.2, -0.4], [0.0, 0.0], [-2.0, 2.0]])
    second = np.concatenate([thing + np.array([*way, 0]) for thing, way in zip(things, ways)])
    found = vote(np.concatenate(things), np.repeat(np.arange(3), 60), 4, second, 3.0, 0.2)
    np.testing.assert_allclose(found[:3], ways, atol=0.21)
    assert not found[3].any()
    assert not vote(np.zeros((0, 3)), np.zeros(0, int), 2, second, 3.0, 0.2).any()


def test_votes_do_not_depend_on_how_many_are_counted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    points, owner = rng.normal(size=(500, 3)) * 4, np.sort(rng.integers(0, 40, 500))
    whole = vote(points, owner, 40, points + 0.5, 2.0, 0.2)
    monkeypatch.setattr("perception.scene_flow.votes.AT_ONCE", 60)
    assert np.array_equal(vote(points, owner, 40, points + 0.5, 2.0, 0.2), whole)


def test_many_alignments_are_each_its_own() -> None:
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(5)
    things = [rng.normal(size=(80, 3)) * [2, 1, 0.7] + [12 * i, 0, 0] for i in range(4)]
    owner, points = np.repeat(np.arange(4), 80), np.concatenate(things)
    middle = centres(points, owner, 4)
    true = Motions(
        middle, np.array([0.06, 0, -0.08, 0.0]), np.array([[0.2, 0.1, 0], [0, 0, 0], [-0.1, 0.2, 0.05], [0.25, 0, 0]])
    )
    tree = cKDTree(true.apply(points, owner))
    start = Motions(middle, np.zeros(4), np.zeros((4, 3)))
    found = align_many(points, owner, start, tree, 0.2, iterations=60)
    np.testing.assert_allclose(found.apply(points, owner), true.apply(points, owner), atol=0.02)
