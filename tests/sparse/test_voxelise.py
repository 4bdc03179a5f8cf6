"""Voxelisation against a plain loop over points, caps and borders included."""

from __future__ import annotations

import pytest
import torch

from perception.errors import PerceptionError
from perception.points import PointBatch
from perception.sparse import VoxelGrid, dynamic_voxelise, hard_voxelise
from perception.sparse.voxelise import plain_dynamic_voxelise, plain_hard_voxelise

GRID = VoxelGrid((0.0, -2.0, -1.0, 4.0, 2.0, 1.0), (0.5, 0.5, 1.0))


def random_points(count: int = 400, batch: int = 3) -> PointBatch:
    values = torch.rand(count, 4) * torch.tensor([6.0, 6.0, 3.0, 1.0]) - torch.tensor([1.0, 3.0, 1.5, 0.0])
    sample = torch.randint(0, batch - 1, (count,)).sort().values  # the last sample stays empty
    return PointBatch(values, sample, batch)


def loop_voxels(points: PointBatch, max_points: int, max_voxels: int) -> list[tuple[list[int], torch.Tensor]]:
    """One point after the other, as a robot would do it."""
    found: list[tuple[list[int], list[torch.Tensor]]] = []
    for sample in range(points.batch_size):
        index: dict[tuple[int, ...], int] = {}
        own: list[tuple[list[int], list[torch.Tensor]]] = []
        for row in points.values[points.sample == sample]:
            cell = ((row[:3] - torch.tensor([0.0, -2.0, -1.0])) / torch.tensor([0.5, 0.5, 1.0])).floor().int().tolist()
            if not all(0 <= c < n for c, n in zip(cell, (8, 8, 2))):
                continue
            key = tuple(cell)
            if key not in index:
                if len(own) >= max_voxels:
                    continue
                index[key] = len(own)
                own.append(([sample, cell[2], cell[1], cell[0]], []))
            if len(own[index[key]][1]) < max_points:
                own[index[key]][1].append(row)
        found += own
    return [(coordinate, torch.stack(rows)) for coordinate, rows in found]


@pytest.mark.parametrize(("max_points", "max_voxels"), [(3, 1000), (1, 20), (50, 7)])
def test_hard_equals_the_loop(max_points: int, max_voxels: int) -> None:
    points = random_points()
    voxels = hard_voxelise(points, GRID, max_points, max_voxels)
    expected = loop_voxels(points, max_points, max_voxels)
    assert voxels.coordinates.tolist() == [c for c, _ in expected]
    assert voxels.counts.tolist() == [len(rows) for _, rows in expected]
    for padded, (_, rows) in zip(voxels.points, expected):
        assert torch.equal(padded[: len(rows)], rows)
        assert not padded[len(rows) :].any()
    in_range = GRID.cells(points.xyz)[1].sum()
    assert voxels.clipped == in_range - sum(len(rows) for _, rows in expected)


def test_dynamic_keeps_every_point_in_range() -> None:
    points = random_points()
    voxels = dynamic_voxelise(points, GRID)
    inside = GRID.cells(points.xyz)[1]
    assert torch.equal(voxels.points, points.values[inside])
    keys = voxels.coordinates[voxels.voxel.long()]
    cell = GRID.cells(voxels.points[:, :3])[0]
    assert torch.equal(keys[:, 1:].long(), cell)
    assert torch.equal(keys[:, 0].long(), points.sample[inside])
    assert torch.equal(voxels.coordinates, voxels.coordinates.unique(dim=0))


def test_no_points_and_none_in_range() -> None:
    empty = PointBatch(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 2)
    far = PointBatch(torch.full((5, 4), 100.0), torch.zeros(5, dtype=torch.int64), 1)
    for points in (empty, far):
        assert hard_voxelise(points, GRID, 5, 10).points.shape == (0, 5, 4)
        assert dynamic_voxelise(points, GRID).coordinates.shape == (0, 4)


def test_borders() -> None:
    xyz = torch.tensor([[0.0, -2.0, -1.0], [4.0, 0.0, 0.0], [3.999, 1.999, 0.999], [-1e-6, 0.0, 0.0]])
    cell, inside = GRID.cells(xyz)
    assert inside.tolist() == [True, False, True, False]
    assert cell[0].tolist() == [0, 0, 0]
    assert cell[2].tolist() == [1, 7, 7]


def test_impossible_grid() -> None:
    with pytest.raises(PerceptionError, match="minimum below maximum"):
        VoxelGrid((1.0, 0.0, 0.0, 0.0, 1.0, 1.0), (0.1, 0.1, 0.1))


@pytest.mark.parametrize("count", [0, 1, 5000])
@pytest.mark.parametrize("max_voxels", [0, 90, 20_000])
def test_compiled_equals_plain(count: int, max_voxels: int) -> None:
    """Points on the borders of cells too, and some that are no numbers: both divide in float32."""
    grid = VoxelGrid((0.0, -2.0, -1.0, 4.0, 2.0, 1.0), (0.05, 0.1, 0.2))
    points = random_points(count)
    points.values[::3, :3] = (points.values[::3, :3] / 0.05).round() * 0.05
    points.values[7:8, 1] = float("nan")
    points.values[8:9, 0] = float("inf")
    ours, plain = (f(points, grid, 3, max_voxels) for f in (hard_voxelise, plain_hard_voxelise))
    for name in ("points", "counts", "coordinates"):
        assert torch.equal(getattr(ours, name), getattr(plain, name)), name
    assert (ours.clipped, ours.batch_size) == (plain.clipped, 3)
    moving, still = dynamic_voxelise(points, grid), plain_dynamic_voxelise(points, grid)
    for name in ("points", "voxel", "coordinates"):
        assert torch.equal(getattr(moving, name), getattr(still, name)), name


def test_gradients_reach_the_points_through_the_plain_form() -> None:
    points = random_points()
    wanted = PointBatch(points.values.requires_grad_(), points.sample, points.batch_size)
    hard_voxelise(wanted, GRID, 3, 100).points.sum().backward()
    assert points.values.grad is not None
    assert bool(points.values.grad.any())
