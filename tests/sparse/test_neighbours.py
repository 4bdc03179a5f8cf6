"""Compiled neighbour tables against the plain ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sites import random_sites

from perception.sparse import Sites, table_kernels
from perception.sparse.neighbours import (
    Reach,
    centred_steps,
    coarsened_table,
    compiled_reach,
    plain_find,
    plain_neighbours,
    plain_reach,
    strided_table,
    submanifold_table,
)
from perception.sparse.sites import coordinates_of
from perception.sparse.table import NeighbourTable


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
    reach = Reach((scale,) * 3, ((-1, 0, 1), (-2, 0), (0, 1, 5)), (stride,) * 3, (5, 66, 9))
    keys, table = plain_reach(sites, reach)
    distinct, compiled = compiled_reach(sites, reach)
    assert torch.equal(distinct, keys)
    assert torch.equal(compiled, table)


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


@pytest.mark.parametrize("rows", [0, 1, 150])
def test_any_order_of_rows_gives_the_plain_tables(rows: int) -> None:
    sites = random_sites((9, 14, 11), rows, shuffled=True)
    assert sites.order == ("given" if rows > 1 else "lexicographic")
    ones, steps = (1, 1, 1), centred_steps((3, 1, 5), (1, 1, 2))
    assert torch.equal(submanifold_table(sites, (3, 1, 5), (1, 1, 2)).rows, plain_neighbours(sites, steps))
    reach = Reach(ones, ((0, -1, -2), (0,), (1, 0)), (2, 1, 2), (4, 14, 6))
    for ours, plain in zip(compiled_reach(sites, reach), plain_reach(sites, reach)):
        assert torch.equal(ours, plain)
    coarse = coarsened_table(sites, (3, 3, 3), (2, 2, 2), ones)
    assert coarse.output is not None
    wanted = plain_find(sites, coarse.output, centred_steps((3, 3, 3), ones), (2, 2, 2))
    assert torch.equal(coarse.rows, wanted)
