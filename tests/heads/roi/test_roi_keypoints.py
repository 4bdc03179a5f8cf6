"""Keypoints: their targets and loss, features of the map, and the order in which voxels are taken."""

from __future__ import annotations

import pytest
import torch
from roi_scenes import GRID, points

from perception.heads.roi.arrival import arrival_orders
from perception.heads.roi.point_head import point_loss, point_targets
from perception.heads.roi.set_abstraction import sample_map
from perception.points import PointBatch
from perception.sparse import SparseConv, SparseTensor, SubmanifoldConv


def test_points_near_a_box_are_left_out() -> None:
    xyz = torch.tensor([[0.0, 0, 0], [2.05, 0, 0], [2.2, 0, 0], [0, 0, 0], [0, 1.05, 0]])
    places = PointBatch(xyz, torch.tensor([0, 0, 0, 1, 2]), 3)
    box = torch.tensor([[0.0, 0, 0, 4, 2, 2, 0]])
    assert point_targets(places, [box, torch.zeros(0, 7), box]).tolist() == [1, -1, 0, 0, -1]


def test_point_loss_by_hand() -> None:
    logits, target = torch.tensor([0.3, -0.2, 2.0, -1.0]), torch.tensor([1, 1, 0, -1])
    p = logits.sigmoid().double()
    wanted = -0.25 * sum((1 - p[i]) ** 2 * p[i].log() for i in (0, 1)) - 0.75 * p[2] ** 2 * (1 - p[2]).log()
    assert float(point_loss(logits, target)) == pytest.approx(float(wanted / 2), rel=1e-5)
    assert float(point_loss(logits, torch.full((4,), -1))) == 0
    assert point_loss(logits[:0], target[:0]) == 0


def test_map_between_cells() -> None:
    flat = torch.randn(2, 3, 100, 90)  # a cell of the map is one of the grid
    places = points([50, 40], low=0.0, high=4.9)
    found = sample_map(flat, places, GRID)
    for row, sample, value in zip(places.xyz, places.sample, found):
        x, y = float(row[0]) / 0.1, (float(row[1]) + 5) / 0.1
        i, j = int(x), int(y)
        a, b = x - i, y - j
        near = flat[sample, :, j : j + 2, i : i + 2]
        wanted = (1 - b) * ((1 - a) * near[:, 0, 0] + a * near[:, 0, 1])
        wanted = wanted + b * ((1 - a) * near[:, 1, 0] + a * near[:, 1, 1])
        torch.testing.assert_close(value, wanted, atol=1e-4, rtol=1e-4)


def test_map_at_a_coarser_grid_and_beyond_its_last_cell() -> None:
    flat = torch.arange(12 * 11, dtype=torch.float32).view(1, 1, 12, 11)
    place = PointBatch(torch.tensor([[1.6, -3.4, 0.0], [8.99, 0, 0]]), torch.zeros(2, dtype=torch.int64), 1)
    found = sample_map(flat, place, GRID)
    assert float(found[0]) == pytest.approx(2 * 11 + 2, abs=1e-3)  # 16 cells of 0.1 m are two of the map's
    assert float(found[1]) == pytest.approx(0, abs=1e-4)  # the last of eleven columns has none to go on to


def test_order_of_arrival_is_that_of_a_loop_over_taps_and_inputs() -> None:
    shape = (9, 12, 11)
    cells = (torch.rand(150, 3) * torch.tensor(shape)).long().unique(dim=0)
    cells = torch.cat([torch.zeros_like(cells[:, :1]), cells], 1)[torch.randperm(len(cells))].int()
    volume = SparseTensor.of(torch.randn(len(cells), 2), cells, shape, 1)
    first = SubmanifoldConv(2, 2, 3)(volume)
    second = SparseConv(2, 2, 3, stride=2, padding=1)(first)
    orders = arrival_orders(cells, volume, [first, second])
    assert torch.equal(first.coordinates[orders[0]], cells)
    reached: list[tuple[int, ...]] = []
    for tap in torch.cartesian_prod(*[torch.arange(3)] * 3).tolist():
        for cell in cells[:, 1:].tolist():
            place = [c + 1 - t for c, t in zip(cell, tap)]
            out = tuple(p // 2 for p in place)
            inside = all(0 <= o < n for o, n in zip(out, second.sites.spatial_shape))
            if inside and all(p % 2 == 0 for p in place) and out not in reached:
                reached.append(out)
    assert second.coordinates[orders[1], 1:].tolist() == [list(out) for out in reached]


def test_sites_that_do_not_follow_from_the_last_are_taken_in_their_own_order() -> None:
    volume = SparseTensor.of(torch.randn(1, 2), torch.tensor([[0, 1, 1, 1]]), (4, 4, 4), 1)
    other = SparseTensor.of(torch.randn(2, 2), torch.tensor([[0, 1, 1, 1], [0, 0, 1, 1]]), (4, 4, 4), 1)
    empty = SparseTensor.of(torch.zeros(0, 2), torch.zeros((0, 4), dtype=torch.int32), (4, 4, 4), 1)
    orders = arrival_orders(volume.coordinates, volume, [volume, other, empty])
    assert [order.tolist() for order in orders] == [[0], [0, 1], []]
