"""Searches for neighbours: compiled loops against plain forms, and these against lists written out."""

from __future__ import annotations

import pytest
import torch
from roi_scenes import GRID, points, stage

from perception.heads.roi.ball_query import ball_query, plain_ball_query
from perception.heads.roi.farthest_points import farthest_points, plain_farthest_points
from perception.heads.roi.neighbours import Neighbours
from perception.heads.roi.pool_kernels import _holder, first_largest, plain_holder
from perception.heads.roi.segments import paired_relu, plain_paired_relu, plain_segment_max, segment_max
from perception.heads.roi.voxel_pool import voxel_centres
from perception.heads.roi.voxel_query import plain_voxel_query, voxel_query
from perception.points import PointBatch


def same(a: Neighbours, b: Neighbours) -> bool:
    return torch.equal(a.rows, b.rows) and torch.equal(a.counts, b.counts)


@pytest.mark.parametrize(("radius", "slots"), [(0.3, 4), (1.0, 16), (50.0, 8)])
@pytest.mark.parametrize("counts", [[400, 0, 150], [1], [0, 0], [0, 30]])
def test_ball_query_equals_its_plain_form(counts: list[int], radius: float, slots: int) -> None:
    cloud, queries = points(counts), points([20] * len(counts), low=-1, high=9)
    assert same(ball_query(cloud, queries, radius, slots), plain_ball_query(cloud, queries, radius, slots))


def test_ball_query_takes_the_first_rows_strictly_within_the_radius() -> None:
    xyz = torch.tensor([[1.0, 0, 0], [0.5, 0, 0], [9, 0, 0], [0, 0.25, 0], [0, 0, 0]])
    cloud = PointBatch(xyz, torch.zeros(5, dtype=torch.int64), 1)
    queries = PointBatch(torch.tensor([[0.0, 0, 0], [20, 0, 0]]), torch.zeros(2, dtype=torch.int64), 1)
    near = ball_query(cloud, queries, 1.0, 2)
    assert near.rows.tolist() == [[1, 3], [0, 0]]
    assert near.counts.tolist() == [2, 0]
    query, row = near.pairs()
    assert (query.tolist(), row.tolist()) == ([0, 0], [1, 3])
    # Three within the radius: the point exactly on it does not count, and a free slot repeats the first.
    assert ball_query(cloud, queries, 1.0, 4).rows[0].tolist() == [1, 3, 4, 1]


def test_ball_query_does_not_depend_on_the_order_of_samples() -> None:
    cloud, queries = points([60, 60]), points([30, 30])
    order = torch.randperm(120)
    mixed = PointBatch(cloud.values[order], cloud.sample[order], 2)
    near = ball_query(mixed, queries, 1.0, 8)
    assert same(near, plain_ball_query(mixed, queries, 1.0, 8))
    query, row = near.pairs()
    assert torch.equal(mixed.sample[row], queries.sample[query])


@pytest.mark.parametrize("cells", [0, 1, 3000])
@pytest.mark.parametrize(("stride", "radius", "slots"), [(1, 0.35, 16), (2, 0.8, 3), (4, 1.6, 16)])
def test_voxel_query_equals_its_plain_form(cells: int, stride: int, radius: float, slots: int) -> None:
    volume = stage(cells, stride=stride)
    places = torch.rand(200, 3) * torch.tensor([10.0, 12.0, 3.0]) - torch.tensor([0.5, 6.0, 1.5])
    size = torch.tensor(GRID.voxel_size) * stride
    cell = ((places - torch.tensor(GRID.point_range[:3])) / size).floor().long().flip(1)
    cell = torch.cat([torch.randint(2, (200, 1)), cell], 1)
    centres = voxel_centres(volume, GRID)
    arguments = volume.sites, centres, places, cell, 4, radius, slots
    assert same(voxel_query(*arguments), plain_voxel_query(*arguments))


def test_voxel_query_equals_a_search_through_all_voxels() -> None:
    volume = stage(2000)
    centres = voxel_centres(volume, GRID)
    rows = torch.randint(len(centres), (50,))
    places, cell = centres[rows] + 0.02, volume.coordinates[rows].long()
    near = voxel_query(volume.sites, centres, places, cell, 2, 0.25, 6)
    for query in range(50):
        steps = (volume.coordinates.long() - cell[query]).abs()
        within = (steps[:, 0] == 0) & (steps[:, 1:] <= 2).all(1) & ((centres - places[query]).norm(dim=1) <= 0.25)
        wanted = within.nonzero()[:6, 0].tolist()  # rows are in the order z y x
        assert near.rows[query, : near.counts[query]].tolist() == wanted


@pytest.mark.parametrize("count", [1, 2, 63, 700])
def test_farthest_points_equal_their_plain_form(count: int) -> None:
    cloud = points([count])
    assert torch.equal(farthest_points(cloud, count), plain_farthest_points(cloud.xyz, count))


def test_farthest_points_of_equally_far_ones_take_the_first() -> None:
    cloud = PointBatch((4 * torch.rand(500, 3)).round(), torch.zeros(500, dtype=torch.int64), 1)
    assert torch.equal(farthest_points(cloud, 300), plain_farthest_points(cloud.xyz, 300))


def test_farthest_points_of_each_sample() -> None:
    cloud = points([100, 0, 3])
    chosen = farthest_points(cloud, 8)
    assert cloud.sample[chosen].tolist() == [0] * 8 + [2] * 8
    assert chosen[0] == 0
    assert chosen[8] == 100
    assert torch.equal(chosen[8:11], chosen[11:14])  # fewer points than wanted: again from the start
    assert farthest_points(points([0, 0]), 8).shape == (0,)


@pytest.mark.parametrize("counts", [[3, 0, 1, 5], [0, 0], []])
def test_segment_max(counts: list[int]) -> None:
    lengths = torch.tensor(counts, dtype=torch.int64)
    values = torch.randn(int(lengths.sum()), 7)
    wanted = [part.amax(0) if len(part) else torch.zeros(7) for part in values.split(counts)]
    wanted = torch.stack(wanted) if wanted else torch.zeros(0, 7)
    assert torch.equal(segment_max(values, lengths), wanted)
    assert torch.equal(plain_segment_max(values, lengths), wanted)


def test_largest_of_neighbours_and_its_gradient() -> None:
    values = torch.randn(30, 6).round(decimals=1).requires_grad_()
    near = ball_query(points([30]), points([12]), 2.0, 5)
    assert torch.equal(_holder(values.detach(), near), plain_holder(values.detach(), near))
    weight = torch.randn(12, 6)
    found = first_largest(values, near)
    (gradient,) = torch.autograd.grad((found * weight).sum(), values)
    plain = torch.where(near.counts[:, None] > 0, values[near.rows].max(1).values, 0.0)
    (wanted,) = torch.autograd.grad((plain * weight).sum(), values)
    assert torch.equal(found, plain)
    torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize("number", [0, 1, 40_000])
def test_pairs(number: int) -> None:
    here, there = torch.randn(50, 6), torch.randn(20, 6)
    row, query = torch.randint(50, (number,)), torch.randint(20, (number,))
    assert torch.equal(paired_relu(here, there, row, query), plain_paired_relu(here, there, row, query))
