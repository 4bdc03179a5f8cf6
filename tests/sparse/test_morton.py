"""Morton keys bit by bit, their range, and the order of sites."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from perception.errors import PerceptionError
from perception.sparse import Sites
from perception.sparse.morton import morton_coordinates, morton_keys, morton_sites
from perception.sparse.neighbours import submanifold_table


def plain_key(cell: list[int], bits: int) -> int:
    sample, *axes = cell
    key = sample
    for bit in reversed(range(bits)):
        for coordinate in reversed(axes):  # x, y, z from high to low
            key = key * 2 + (coordinate >> bit & 1)
    return key


@pytest.mark.parametrize(("dimension", "bits"), [(2, 1), (2, 11), (2, 30), (3, 1), (3, 10), (3, 11), (3, 16), (3, 20)])
@pytest.mark.parametrize("rows", [0, 1, 50])
def test_keys_equal_bit_by_bit_and_invert(dimension: int, bits: int, rows: int) -> None:
    cells = torch.cat([torch.randint(0, 8, (rows, 1)), torch.randint(0, 2**bits, (rows, dimension))], 1)
    cells[: rows // 4, 1:] = 2**bits - 1
    keys = morton_keys(cells, bits)
    assert keys.tolist() == [plain_key(cell, bits) for cell in cells.tolist()]
    assert torch.equal(morton_coordinates(keys, bits, dimension).long(), cells)


def test_what_could_overflow_is_refused() -> None:
    with pytest.raises(PerceptionError, match="21 bits"):
        morton_keys(torch.zeros(1, 4), 21)
    with pytest.raises(PerceptionError, match="31 bits"):
        morton_keys(torch.zeros(1, 3), 31)
    for cell in ([0, 4, 0, 0], [0, 0, -1, 0], [-1, 0, 0, 0]):
        with pytest.raises(PerceptionError, match=r"row 1 .*\[" + str(cell[0])):
            morton_keys(torch.tensor([[0, 3, 3, 3], cell]), 2)
    assert int(morton_keys(torch.tensor([[7, 2**20 - 1, 2**20 - 1, 2**20 - 1]]), 20)) == 2**63 - 1
    with pytest.raises(PerceptionError, match="batch index below 8"):
        morton_keys(torch.tensor([[8, 0, 0, 0]]), 20)
    with pytest.raises(PerceptionError, match="21 bits"):
        morton_sites(Sites.of(torch.zeros(1, 4), (1, 1, 2**20 + 1), 1))


@pytest.mark.parametrize("shape", [(9, 6), (5, 8, 17)])
@pytest.mark.parametrize("rows", [0, 1, 150])
def test_sites_in_morton_order(make_sites: Callable[..., Sites], shape: tuple[int, ...], rows: int) -> None:
    sites = make_sites(shape, rows)
    ordered, source = morton_sites(sites)
    assert ordered.order == "morton"
    assert torch.equal(ordered.coordinates, sites.coordinates[source])
    keys = [plain_key(cell, 8) for cell in ordered.coordinates.tolist()]
    assert keys == sorted(keys)
    assert torch.equal(ordered.find(sites.coordinates[source]), torch.arange(len(sites)))
    kernel = (3,) * len(shape)
    there = submanifold_table(ordered, kernel, (1,) * len(shape)).rows.long()
    here = submanifold_table(sites, kernel, (1,) * len(shape)).rows.long()[:, source]
    assert torch.equal(torch.where(there >= 0, source[there] if rows else there, -1), here)
