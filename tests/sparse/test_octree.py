"""Octrees against dictionaries of cells, and against keys and counts of the official octree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from perception.errors import PerceptionError
from perception.sparse import Sites
from perception.sparse.engines.reference import convolve
from perception.sparse.morton import morton_keys
from perception.sparse.neighbours import strided_table
from perception.sparse.octree import Octree


@pytest.mark.parametrize(("shape", "depth", "top"), [((9, 6), None, 0), ((5, 8, 17), None, 1), ((4, 4, 4), 5, 0)])
@pytest.mark.parametrize("rows", [0, 1, 150])
@pytest.mark.parametrize("shuffled", [False, True])
def test_levels_equal_a_loop(
    make_sites: Callable[..., Sites], shape: tuple[int, ...], depth: int | None, top: int, rows: int, shuffled: bool
) -> None:
    sites = make_sites(shape, rows, shuffled=shuffled)
    octree = Octree.of(sites, depth, top)
    leaves = octree.levels[0]
    assert torch.equal(leaves.sites.coordinates, sites.coordinates[octree.rows])
    assert leaves.depth == (depth or max(size - 1 for size in shape).bit_length())
    assert [level.depth for level in octree.levels] == list(range(leaves.depth, top - 1, -1))
    cells = {tuple(cell) for cell in sites.coordinates.tolist()}
    for level in octree.levels:
        assert octree.at(level.depth) is level
        nodes = [tuple(cell) for cell in level.sites.coordinates.tolist()]
        assert set(nodes) == cells
        assert len(nodes) == len(cells)
        assert torch.equal(level.keys, morton_keys(level.sites.coordinates, level.depth) if level.depth else level.keys)
        assert bool((level.keys.diff() > 0).all())
        assert level.sites.spatial_shape == (2**level.depth,) * len(shape)
        assert level.sites.stride == (2 ** (leaves.depth - level.depth),) * len(shape)
        cells = {(sample, *(c // 2 for c in cell)) for sample, *cell in cells}
    for below, above in zip(octree.levels, octree.levels[1:]):
        assert below.parents is not None
        assert above.children is not None
        place = {tuple(cell): row for row, cell in enumerate(below.sites.coordinates.tolist())}
        for row, cell in enumerate(below.sites.coordinates.tolist()):
            parent = above.sites.coordinates[below.parents[row]].tolist()
            assert parent == [cell[0], *(c // 2 for c in cell[1:])]
        for row, (sample, *cell) in enumerate(above.sites.coordinates.tolist()):
            for octant, child in enumerate(above.children[row].tolist()):
                bits = [octant >> axis & 1 for axis in range(len(cell))]  # z is the lowest bit, x the highest
                assert place.get((sample, *(2 * c + b for c, b in zip(cell, bits))), -1) == child
    assert leaves.children is None
    assert octree.levels[-1].parents is None


@pytest.mark.parametrize("shape", [(9, 6), (5, 8, 17)])
@pytest.mark.parametrize("rows", [0, 1, 100])
def test_neighbours_and_down_tables_lead_to_the_right_nodes(
    make_sites: Callable[..., Sites], shape: tuple[int, ...], rows: int
) -> None:
    sites = make_sites(shape, rows)
    octree = Octree.of(sites)
    for level in octree.levels:
        place = {tuple(cell): row for row, cell in enumerate(level.sites.coordinates.tolist())}
        for tap, step in enumerate(np.ndindex((3,) * len(shape))):
            expected = [
                place.get((sample, *(int(c + s - 1) for c, s in zip(cell, step))), -1)
                for sample, *cell in level.sites.coordinates.tolist()
            ]
            assert level.neighbours.rows[tap].tolist() == expected
    assert octree.levels[0].neighbours is octree.levels[0].neighbours  # layers share the table

    down = octree.down_table(octree.levels[0].depth)
    assert down is octree.down_table(octree.levels[0].depth)
    wide = Sites.of(sites.coordinates, octree.levels[0].sites.spatial_shape, 3)
    lexicographic = strided_table(wide, *((n,) * len(shape) for n in (2, 2, 0, 1)))
    features, weight = torch.randn(len(sites), 3), torch.randn(4, 2 ** len(shape), 3)
    assert down.output is not None
    assert lexicographic.output is not None
    ours = convolve(features[octree.rows], weight, down)
    theirs = convolve(features, weight, lexicographic)
    torch.testing.assert_close(ours, theirs[lexicographic.output.find(down.output.coordinates)])


def test_same_bits_for_any_number_of_threads(make_sites: Callable[..., Sites], thread_counts: Callable) -> None:
    sites = make_sites((30, 60, 60), 40000, shuffled=True)

    def run() -> list[torch.Tensor]:
        octree = Octree.of(sites)
        parents = [level.parents for level in octree.levels[:-1] if level.parents is not None]
        return [octree.rows, *(level.sites.coordinates for level in octree.levels[:-1]), *parents[:-1]]

    thread_counts(run)


def test_bad_depths_are_refused(make_sites: Callable[..., Sites]) -> None:
    sites = make_sites((4, 9), 20)
    with pytest.raises(PerceptionError, match="at least 4"):
        Octree.of(sites, 3)
    with pytest.raises(PerceptionError, match="top between"):
        Octree.of(sites, 5, 6)
    with pytest.raises(PerceptionError, match=r"2 \.\. 4"):
        Octree.of(sites, top=2).at(1)
    with pytest.raises(PerceptionError, match=r"0 \.\. 4"):
        Octree.of(sites).down_table(0)


@pytest.mark.parametrize("name", ["cs-wild-places_a", "cs-wild-places_batch3", "wild-places_a", "oxford_batch3"])
def test_nodes_of_the_official_octree(name: str, shared_golden: Path) -> None:
    stored = np.load(shared_golden / "trees_places_flow" / f"hotformerloc_{name}.npz")
    counts = stored["leaf_count_nempty_per_depth"].tolist()
    depth = len(counts) - 1
    clouds = [stored[key] for key in sorted(stored.files) if key.startswith("in_points")]
    cells = []
    for sample, points in enumerate(clouds):
        # ocnn keeps the low bits of the cell index alone: a point at +1 wraps to cell 0.
        cell = ((torch.from_numpy(points[:, :3]) + 1) * 2 ** (depth - 1)).long() & (2**depth - 1)
        cells.append(torch.cat([torch.full((len(cell), 1), sample), cell.flip(1)], 1))
    coordinates = torch.cat(cells).unique(dim=0)
    octree = Octree.of(Sites.of(coordinates, (2**depth,) * 3, len(clouds)), depth, top=2)
    assert [len(level) for level in reversed(octree.levels)] == counts[2:]
    for stage, level in (("input", 0), ("stem", 2), ("octf", 2), ("down", 3)):
        rows = torch.from_numpy(stored[f"{stage}_rows"]).long()
        found = octree.levels[level].sites.coordinates[rows].long()
        assert torch.equal(morton_keys(found, 16), torch.from_numpy(stored[f"{stage}_key"]))
        assert torch.equal(found[:, [3, 2, 1, 0]], torch.from_numpy(stored[f"{stage}_xyzb"].astype(np.int64)))
