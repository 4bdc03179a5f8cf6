"""Growth of sites: against loops over cells, and against the published arithmetic written out cell by cell."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from perception.sparse import Sites
from perception.sparse.growth import Merge, by_share, by_threshold, grow, propose, spread_table
from perception.sparse.neighbours import centred_steps, plain_find

SHAPE = (5, 6, 4)
Cell = tuple[int, ...]


def sites_of(seed: int, number: int, shape: tuple[int, ...] = SHAPE, batch: int = 3) -> Sites:
    """Cells of samples 0 and 2 of three; sample 1 is empty."""
    generator = np.random.default_rng(seed)
    cells = [generator.choice([0, batch - 1], number), *(generator.integers(0, n, number) for n in shape)]
    return Sites.of(torch.from_numpy(np.unique(np.stack(cells, 1), axis=0)), shape, batch)


def importance_of(sites: Sites, seed: int, kernel: int = 3) -> Tensor:
    return torch.rand((len(sites), kernel**3), generator=torch.Generator().manual_seed(seed))


def proposals_of(sites: Sites, rows: list[int], importance: Tensor, kernel: int = 3) -> list[tuple[Cell, float]]:
    reach = range(-(kernel // 2), kernel // 2 + 1)
    steps = [step for step in itertools.product(reach, repeat=3) if step != (0, 0, 0)]
    found = []
    for row in rows:
        sample, *cell = sites.coordinates[row].tolist()
        for tap, step in enumerate(steps):
            moved = [a + b for a, b in zip(cell, step)]
            if importance[row, tap] >= 0.5 and all(0 < a < n for a, n in zip(moved, sites.spatial_shape)):
                found.append(((sample, *moved), float(importance[row, tap])))
    return found


@pytest.mark.parametrize("kernel", [3, 5])
def test_cells_and_weights_by_hand(kernel: int) -> None:
    sites = sites_of(0, 60)
    importance = importance_of(sites, 1, kernel)
    split = by_share(importance[:, -1], sites, 0.5)
    growth = grow(sites, split, importance[:, :-1], kernel, 0.5)
    proposed = proposals_of(sites, split[0].tolist(), importance, kernel)
    own = [tuple(cell) for cell in sites.coordinates.tolist()]
    assert [tuple(cell) for cell in growth.sites.coordinates.tolist()] == sorted(
        {*own, *(cell for cell, _ in proposed)}
    )
    assert growth.source is sites
    assert growth.row is None
    front = set(split[0].tolist())
    for row, cell in enumerate(own):
        others = [strength for place, strength in proposed if place == cell]
        wanted = (1 + sum(others)) / (1 + len(others)) if row in front else 1.0
        assert growth.weight[row, 0].item() == pytest.approx(wanted, abs=1e-6)


def published(
    sites: Sites, split: tuple[Tensor, Tensor], importance: Tensor, dtype: type
) -> dict[Cell, dict[int, float]]:
    """Grown cell -> weight of each given row that is added to it, as the official code finds them, sample by sample."""
    answer: dict[Cell, dict[int, float]] = {}
    samples = sites.coordinates[:, 0]
    for sample in range(sites.batch_size):
        front = [row for row in split[0].tolist() if samples[row] == sample]
        items = [(tuple(sites.coordinates[row].tolist()), 1.0, {row: 1.0}) for row in front]
        items += [(cell, p, {}) for cell, p in proposals_of(sites, front, importance)]
        merged = [
            (group[0][0], {row: sum(p for _, p, _ in group) / len(group) for _, _, rows in group for row in rows})
            for group in runs(items, dtype)
        ][::-1]
        back = [row for row in split[1].tolist() if samples[row] == sample]
        both = [(cell, 0.0, rows) for cell, rows in merged]
        both += [(tuple(sites.coordinates[row].tolist()), 0.0, {row: 1.0}) for row in back]
        for group in runs(both, np.int64):
            answer[group[-1][0]] = {row: weight for _, _, rows in group for row, weight in rows.items()}
    return answer


def runs(items: list[tuple[Cell, float, dict[int, float]]], dtype: type) -> list[list[tuple]]:
    largest = np.array([cell[1:] for cell, _, _ in items] or [(0, 0, 0)]).max(0)

    def number(cell: Cell, kind: type) -> np.generic:
        z, y, x = (kind(value) for value in cell[1:])
        height, width = kind(largest[1]), kind(largest[2])
        return z * height * width + y * width + x

    ordered = sorted(items, key=lambda item: number(item[0], dtype))  # a stable sort, as required
    return [list(group) for _, group in itertools.groupby(ordered, key=lambda item: number(item[0], np.int64))]


@pytest.mark.parametrize(("merge", "dtype"), [("int64_exact", np.int64), ("float32_stable", np.float32)])
@pytest.mark.parametrize("corner", [(0, 0, 0), (30, 1500, 1300)])
def test_the_published_merges(merge: Merge, dtype: type, corner: tuple[int, ...]) -> None:
    small = sites_of(4, 80)
    cells = small.coordinates + torch.tensor([0, *corner], dtype=torch.int32)
    sites = Sites.of(cells, [n + c for n, c in zip(SHAPE, corner)], 3)
    importance = importance_of(sites, 5)
    split = by_share(importance[:, -1], sites, 0.5)
    growth = grow(sites, split, importance[:, :-1], 3, 0.5, merge)
    wanted = published(sites, split, importance, dtype)
    assert [tuple(cell) for cell in growth.sites.coordinates.tolist()] == sorted(wanted)
    assert growth.row is not None
    for cell, rows in wanted.items():
        for row, weight in rows.items():
            assert tuple(growth.source.coordinates[growth.row[row]].tolist()) == cell
            assert growth.weight[row, 0].item() == pytest.approx(weight, abs=1e-6)
    if corner == (0, 0, 0):  # collisions at the edge: the cells must differ from a merge by coordinates
        assert len(growth.sites) < len(grow(sites, split, importance[:, :-1], 3, 0.5).sites)


def test_the_three_merges_agree_inside_the_range() -> None:
    inner = sites_of(6, 80)
    shape = (9, 40, 40)
    extremes = torch.tensor([[0, 8, 39, 39], [2, 8, 39, 39]], dtype=torch.int32)
    cells = torch.cat([inner.coordinates + torch.tensor([0, 2, 2, 2], dtype=torch.int32), extremes])
    sites = Sites.of(cells[np.lexsort(cells.numpy().T[::-1])], shape, 3)
    importance = importance_of(sites, 7)
    split = by_share(importance[:, -1], sites, 0.5)
    first = grow(sites, split, importance[:, :-1], 3, 0.5)
    for merge in ("int64_exact", "float32_stable"):
        other = grow(sites, split, importance[:, :-1], 3, 0.5, merge)
        assert torch.equal(first.sites.coordinates, other.sites.coordinates)
        assert torch.equal(first.source.coordinates, other.source.coordinates)
        torch.testing.assert_close(first.weight, other.weight)


def test_the_first_cell_of_an_axis_is_never_proposed() -> None:
    sites = Sites.of(torch.tensor([[0, 1, 1, 1], [0, 4, 5, 3]]), SHAPE, 1)
    rows = torch.arange(2)
    found = propose(sites, (rows, rows[:0]), torch.ones(2, 26), 3, 0.5)
    assert found.cells[:, 1:].min() == 1
    assert (found.cells[:, 1:].amax(0) == torch.tensor([4, 5, 3])).all()
    assert len(found.cells) == 2 * 7


def test_shares_are_counted_in_each_sample() -> None:
    sites = sites_of(8, 40)
    importance = torch.rand(len(sites), generator=torch.Generator().manual_seed(1))
    front, back = by_share(importance, sites, 0.5)
    samples = sites.coordinates[:, 0]
    assert sorted([*front.tolist(), *back.tolist()]) == list(range(len(sites)))
    for sample in (0, 2):
        chosen, rest = front[samples[front] == sample], back[samples[back] == sample]
        assert len(chosen) == (len(chosen) + len(rest)) // 2
        assert importance[chosen].min() >= importance[rest].max()
        assert (importance[chosen].diff() <= 0).all()


@pytest.mark.parametrize("merge", ["coordinates", "int64_exact", "float32_stable"])
@pytest.mark.parametrize("number", [0, 1])
def test_nothing_to_grow(merge: Merge, number: int) -> None:
    sites = Sites.of(torch.tensor([[1, 2, 3, 0]])[:number], SHAPE, 2)
    for share in (0.5, 1.0):
        split = by_share(torch.ones(number), sites, share)
        growth = grow(sites, split, torch.zeros(number, 26), 3, 0.5, merge)
        assert torch.equal(growth.sites.coordinates, sites.coordinates)
        assert (growth.weight == 1).all()
        assert spread_table(growth, 3).rows.shape == (27, number)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("merge", ["coordinates", "int64_exact"])
def test_the_compiled_table_is_the_plain_one(kernel: int, merge: Merge) -> None:
    sites = sites_of(9, 70)
    importance = importance_of(sites, 2, kernel)
    growth = grow(sites, by_threshold(importance[:, -1], 0.4), importance[:, :-1], kernel, 0.5, merge)
    steps = centred_steps((kernel,) * 3, (1, 1, 1))
    table = spread_table(growth, kernel)
    assert torch.equal(table.rows, plain_find(growth.source, growth.sites, steps, (1, 1, 1)))
    assert table.leads_to(sites) is growth.sites
