"""Targets of centre heads against loops over objects and cells."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.heads.centre_grid import CentreGrid, decode
from perception.heads.centre_targets import centre_targets, gaussian_radius, objects_of_task
from perception.heads.sparse_targets import sparse_targets
from perception.sparse import Sites

GRID = CentreGrid((-4.0, -6.0), (0.1, 0.2), 4)
SHAPE = (15, 20)  # y x cells of 0.8 and 0.4 m


def random_boxes(count: int, columns: int = 7) -> Tensor:
    centre = torch.rand(count, 3) * torch.tensor([9.0, 13.0, 2.0]) - torch.tensor([4.5, 6.5, 1.0])
    size, rest = torch.rand(count, 3) * 4 + 0.3, torch.rand(count, columns - 6) * 6 - 3
    return torch.cat([centre, size, rest], 1)


def radius_by_hand(a: float, b: float) -> int:
    m = 0.1
    r1 = (a + b + math.sqrt((a + b) ** 2 - 4 * a * b * (1 - m) / (1 + m))) / 2
    r2 = (2 * (a + b) + math.sqrt(4 * (a + b) ** 2 - 16 * (1 - m) * a * b)) / 2
    r3 = (-2 * m * (a + b) + math.sqrt(4 * m * m * (a + b) ** 2 + 16 * m * (1 - m) * a * b)) / 2
    return max(2, int(min(r1, r2, r3)))


def gaussian(squared: float, radius: int) -> float:
    return math.exp(-squared / (2 * ((2 * radius + 1) / 6) ** 2))


def test_radius_is_the_smallest_of_three_roots_and_at_least_two() -> None:
    sizes = torch.tensor([[0.5, 0.5], [5.0, 2.2], [12.0, 3.1], [30.0, 28.0]])
    assert gaussian_radius(sizes).tolist() == [radius_by_hand(a, b) for a, b in sizes.tolist()]


def test_dense_targets_equal_a_loop() -> None:
    boxes = [random_boxes(12), random_boxes(0), random_boxes(5)]
    labels = [torch.randint(0, 4, (len(b),)) for b in boxes]
    objects = objects_of_task(boxes, labels, range(1, 3), GRID, SHAPE)
    found = centre_targets(objects, 2, 3, SHAPE)
    heatmap, row = torch.zeros(3, 2, *SHAPE), 0
    for sample, (rows, kinds) in enumerate(zip(boxes, labels)):
        for box, kind in zip(rows.tolist(), kinds.tolist()):
            if kind not in (1, 2):
                continue
            x = min(max((box[0] + 4) / 0.4, 0), SHAPE[1] - 0.5)
            y = min(max((box[1] + 6) / 0.8, 0), SHAPE[0] - 0.5)
            radius = radius_by_hand(box[3] / 0.4, box[4] / 0.8)
            for v in range(max(int(y) - radius, 0), min(int(y) + radius + 1, SHAPE[0])):
                for u in range(max(int(x) - radius, 0), min(int(x) + radius + 1, SHAPE[1])):
                    value = gaussian((u - int(x)) ** 2 + (v - int(y)) ** 2, radius)
                    heatmap[sample, kind - 1, v, u] = max(heatmap[sample, kind - 1, v, u].item(), value)
            assert found.sample[row] == sample
            assert found.cell[row] == int(y) * SHAPE[1] + int(x)
            wanted = [x - int(x), y - int(y), box[2], *map(math.log, box[3:6]), math.cos(box[6]), math.sin(box[6])]
            torch.testing.assert_close(found.values[row], torch.tensor(wanted), atol=1e-4, rtol=1e-4)
            row += 1
    assert row == len(found.cell) > 3
    torch.testing.assert_close(found.heatmap, heatmap, atol=1e-5, rtol=1e-5)


def test_cells_beside_learn_the_box_too() -> None:
    boxes = [random_boxes(6), random_boxes(0), random_boxes(3)]
    boxes[0][0, :2] = torch.tensor([-4.0, -6.0])  # in the corner of the map
    objects = objects_of_task(boxes, [torch.zeros(len(b)).long() for b in boxes], range(1), GRID, SHAPE)
    alone, found = centre_targets(objects, 1, 3, SHAPE), centre_targets(objects, 1, 3, SHAPE, reach=1)
    assert torch.equal(found.heatmap, alone.heatmap)
    wanted = set()
    for sample, cell, box in zip(alone.sample.tolist(), alone.cell.tolist(), alone.boxes):
        for y in range(cell // SHAPE[1] - 1, cell // SHAPE[1] + 2):
            for x in range(cell % SHAPE[1] - 1, cell % SHAPE[1] + 2):
                if 0 <= y < SHAPE[0] and 0 <= x < SHAPE[1]:
                    wanted.add((sample, y * SHAPE[1] + x, tuple(box.tolist())))
    rows = zip(found.sample.tolist(), found.cell.tolist(), found.boxes)
    assert {(sample, cell, tuple(box.tolist())) for sample, cell, box in rows} == wanted
    assert len(found.cell) == len(wanted) >= 4 + 8 * 4
    cells = torch.stack([found.cell % SHAPE[1], found.cell // SHAPE[1]], 1)
    decoded, near = decode(cells, found.values, GRID), (found.boxes[:, 0].abs() < 3.7) & (found.boxes[:, 1].abs() < 5.5)
    torch.testing.assert_close(decoded[near], found.boxes[near], atol=1e-4, rtol=1e-4)


def test_decoding_gives_the_boxes_back() -> None:
    boxes = random_boxes(30, 9)
    inside = (boxes[:, 0].abs() < 3.7) & (boxes[:, 1].abs() < 5.5)  # the outermost half cell is clamped away
    objects = objects_of_task([boxes[inside]], [torch.zeros(int(inside.sum())).long()], range(1), GRID, SHAPE, True)
    found = centre_targets(objects, 1, 1, SHAPE)
    cells = torch.stack([found.cell % SHAPE[1], found.cell // SHAPE[1]], 1)
    torch.testing.assert_close(decode(cells, found.values, GRID), boxes[inside], atol=1e-4, rtol=1e-4)


def test_velocities_are_kept_dropped_or_unknown() -> None:
    box, label = random_boxes(1, 9), [torch.tensor([0])]
    assert objects_of_task([box], label, range(1), GRID, SHAPE).boxes.shape == (1, 7)
    assert torch.equal(objects_of_task([box], label, range(1), GRID, SHAPE, True).boxes, box)
    unknown = objects_of_task([box[:, :7]], label, range(1), GRID, SHAPE, True).boxes[:, 7:]
    assert unknown.isnan().all()
    with pytest.raises(PerceptionError, match="sample 0 has boxes of shape"):
        objects_of_task([box[:, :8]], label, range(1), GRID, SHAPE)


def test_no_more_than_500_objects_of_a_sample_and_none_without_area() -> None:
    boxes = random_boxes(600)
    boxes[0, 3] = 0
    objects = objects_of_task([boxes], [torch.zeros(600, dtype=torch.int64)], range(1), GRID, SHAPE)
    assert len(objects.boxes) == 500
    assert torch.equal(objects.boxes, boxes[1:501])


def test_sparse_targets_equal_a_loop() -> None:
    places = [(0, 1, 2), (0, 3, 3), (0, 7, 12), (0, 7, 13), (2, 0, 0), (2, 14, 19)]
    sites = Sites.of(torch.tensor(places), SHAPE, 3)
    boxes = [random_boxes(6), random_boxes(2), random_boxes(3)]
    labels = [torch.randint(0, 2, (len(b),)) for b in boxes]
    objects = objects_of_task(boxes, labels, range(2), GRID, SHAPE)
    found = sparse_targets(objects, 2, sites)
    heatmap, row = torch.zeros(len(places), 2), 0
    for index, sample in enumerate(objects.sample.tolist()):
        mine = [i for i, place in enumerate(places) if place[0] == sample]
        if not mine:
            continue  # no voxel can answer
        x, y = objects.position[index].tolist()
        radius, label = int(objects.radius[index]), int(objects.label[index])

        def squared(i: int, u: float, v: float) -> float:
            return (places[i][2] - u) ** 2 + (places[i][1] - v) ** 2

        nearest = min(mine, key=lambda i: squared(i, x, y))
        for i in mine:
            value = max(
                gaussian(squared(i, x, y), radius), gaussian(squared(i, places[nearest][2], places[nearest][1]), radius)
            )
            heatmap[i, label] = max(heatmap[i, label].item(), value)
        assert found.row[row] == nearest
        offset = torch.tensor([x - places[nearest][2], y - places[nearest][1]])
        torch.testing.assert_close(found.values[row, :2], offset, atol=1e-4, rtol=1e-4)
        row += 1
    assert row == len(found.row) == 9
    torch.testing.assert_close(found.heatmap, heatmap, atol=1e-5, rtol=1e-4)
    assert (found.heatmap == 1).sum() > 0
