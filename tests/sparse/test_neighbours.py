"""Compiled neighbour tables against the plain ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perception.sparse import Sites, table_kernels
from perception.sparse.neighbours import (
    NeighbourTable,
    Reach,
    plain_neighbours,
    plain_reach,
    strided_table,
    submanifold_table,
)
from perception.sparse.sites import coordinates_of


def random_sites(shape: tuple[int, ...], rows: int, batch: int = 3) -> Sites:
    """Unequal samples, the second of them empty, with the corners of the grid occupied."""
    cells = torch.stack([torch.randint(0, s, (rows,)) for s in shape], 1)
    sample = torch.where(torch.arange(rows) < rows // 4, 0, 2)
    corners = torch.tensor([[0] * (1 + len(shape)), [2, *(s - 1 for s in shape)], [0, *(s - 1 for s in shape)]])
    coordinates = torch.cat([torch.cat([sample[:, None], cells], 1), corners]).unique(dim=0)
    return Sites.of(coordinates, shape, batch)


@pytest.mark.parametrize(("shape", "kernel"), [((9, 8), (3, 5)), ((5, 6, 7), (3, 3, 3)), ((5, 6, 7), (1, 5, 3))])
@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("rows", [0, 1, 80])
def test_neighbours(shape: tuple[int, ...], kernel: tuple[int, ...], dilation: int, rows: int) -> None:
    sites = random_sites(shape, rows)
    table = submanifold_table(sites, kernel, (dilation,) * len(shape))
    steps = [[(int(o) - k // 2) * dilation for o, k in zip(offset, kernel)] for offset in np.ndindex(kernel)]
    assert torch.equal(table.rows, plain_neighbours(sites, steps))
    shuffled = sites.coordinates[torch.randperm(len(sites))]
    given = Sites.of(shuffled, shape, 3)
    again = submanifold_table(given, kernel, (dilation,) * len(shape))
    for tap in range(len(steps)):
        ours = {(tuple(a), tuple(b)) for a, b in _pairs(table, tap, sites, sites)}
        assert ours == {(tuple(a), tuple(b)) for a, b in _pairs(again, tap, given, given)}


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("rows", [0, 1, 200])
def test_reach(scale: int, stride: int, rows: int) -> None:
    sites = random_sites((6, 70, 9), rows)
    shifts = [[a, b, c] for a in (-1, 0, 1) for b in (-2, 0) for c in (0, 1, 5)]
    reach = Reach((scale,) * 3, shifts, (stride,) * 3, (5, 66, 9))
    keys, table = plain_reach(sites, reach)
    arrays = (np.array(v) for v in (reach.scale, reach.shifts, reach.stride, reach.shape))
    cells = table_kernels.reached_cells(sites.coordinates.numpy(), *arrays)
    distinct, compiled = table_kernels.number_cells(cells, 3 * 5 * 66 * 9)
    assert np.array_equal(distinct, keys.numpy())
    assert np.array_equal(compiled, table.numpy())


def test_grids_beyond_the_bitmap_give_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = (3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1)
    sites = random_sites((9, 30, 40), 300)
    first = strided_table(sites, *arguments)
    monkeypatch.setattr(table_kernels, "MAXIMUM_CELLS", 10)
    second = strided_table(Sites.of(sites.coordinates, sites.spatial_shape, 3), *arguments)
    assert torch.equal(first.rows, second.rows)
    assert torch.equal(first.output.coordinates, second.output.coordinates)


def test_a_grid_of_more_than_two_billion_cells() -> None:
    shape = (4000, 4000, 4000)
    coordinates = torch.tensor([[0, 0, 0, 0], [0, 2000, 1999, 3999], [0, 2000, 2000, 0], [0, 3999, 3999, 3999]])
    sites = Sites.of(coordinates, shape, 1)
    table = submanifold_table(sites, (3, 3, 3), (1, 1, 1))
    assert int((table.rows >= 0).sum()) == 4  # the ends of two lines follow each other in memory and are no neighbours
    down = strided_table(sites, (3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1))
    assert down.output.spatial_shape == (2000, 2000, 2000)
    assert torch.equal(coordinates_of(down.output.keys, down.output.spatial_shape), down.output.coordinates)


def _pairs(table: NeighbourTable, tap: int, inputs: Sites, outputs: Sites) -> list[tuple[list[int], list[int]]]:
    rows = table.rows[tap]
    reader = (rows >= 0).nonzero()[:, 0]
    return list(zip(inputs.coordinates[rows[reader].long()].tolist(), outputs.coordinates[reader].tolist()))
