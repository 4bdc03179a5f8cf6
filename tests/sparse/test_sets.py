"""Dynamic sets against the paper's formula in plain Python, and against counts of the official implementation."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from perception.errors import PerceptionError
from perception.sparse import Sites
from perception.sparse.attention_pool import block_table
from perception.sparse.sets import VoxelSets, dynamic_sets, window_sets
from perception.sparse.windows import partition


def loop(sites: Sites, window: tuple[int, ...], shift: tuple[int, ...], size: int, axis: int) -> set[tuple[int, ...]]:
    """The sets as tuples of rows; float64 division, as published."""
    windows: dict[tuple[int, ...], list[int]] = {}
    for row, (sample, *cell) in enumerate(sites.coordinates.tolist()):
        windows.setdefault((sample, *((c + s) // w for c, s, w in zip(cell, shift, window))), []).append(row)
    found = set()
    for rows in windows.values():
        cells = {row: sites.coordinates[row, 1:].tolist() for row in rows}
        # y before x, or x before y, and z last
        rows = sorted(rows, key=lambda r: (cells[r][-2:] if axis == 0 else cells[r][-2:][::-1]) + cells[r][:-2])
        number, sets = len(rows), math.ceil(len(rows) / size)
        for s in range(sets):
            found.add(tuple(rows[math.floor((s * size + j) * number / (sets * size))] for j in range(size)))
    return found


def check(sets: VoxelSets, number: int) -> None:
    """Each row is in exactly one set, repeats follow each other and are marked, and ``slot`` leads to the first."""
    for rows, repeated, slot in zip(sets.rows, sets.repeated, sets.slot):
        assert torch.equal(rows[~repeated].sort().values, torch.arange(number))
        assert not repeated[:, :1].any()
        assert all(len(set(r.tolist())) == int((~m).sum()) for r, m in zip(rows, repeated))
        assert torch.equal(rows.flatten()[slot], torch.arange(number))
        assert not repeated.flatten()[slot].any()


CASES = [
    ((20, 21), (6, 6), (3, 3), 7),
    ((1, 20, 21), (1, 12, 6), (0, 6, 3), 36),
    ((9, 10, 8), (4, 5, 3), (2, 1, 0), 5),
    ((9, 10, 8), (3, 10, 8), (1, 0, 0), 1),
]


@pytest.mark.parametrize(("shape", "window", "shift", "size"), CASES)
@pytest.mark.parametrize("rows", [0, 1, 200])
@pytest.mark.parametrize("shuffled", [False, True])
def test_sets_equal_the_formula(
    make_sites: Callable[..., Sites],
    shape: tuple[int, ...],
    window: tuple[int, ...],
    shift: tuple[int, ...],
    size: int,
    rows: int,
    shuffled: bool,
) -> None:
    sites = make_sites(shape, rows, shuffled=shuffled)
    sets = dynamic_sets(sites, window, shift, size)
    check(sets, len(sites))
    for axis in (0, 1):
        ours = [tuple(row) for row in sets.rows[axis].tolist()]
        assert len(ours) == len(set(ours))
        assert set(ours) == loop(sites, window, shift, size, axis)


@pytest.mark.parametrize("number", [1, 2, 4, 5, 6, 9, 10, 11, 14, 15, 16, 64])
def test_windows_below_at_and_above_multiples_of_the_set_size(number: int) -> None:
    cells = torch.cartesian_prod(torch.arange(8), torch.arange(8))[torch.randperm(64)[:number]]
    sites = Sites.of(torch.cat([torch.zeros(number, 1, dtype=torch.long), cells], 1), (8, 8), 1)
    sets = dynamic_sets(sites, 8, 0, 5)
    check(sets, number)
    assert sets.rows.shape == (2, -(-number // 5), 5)
    assert int(sets.repeated[0].sum()) == sets.rows[0].numel() - number
    filled = (~sets.repeated[0]).sum(1)
    assert filled.max() - filled.min() <= 1  # rows are spread evenly
    assert set(map(tuple, sets.rows[1].tolist())) == loop(sites, (8, 8), (0, 0), 5, 1)


def test_no_shift_along_z_in_a_window_as_high_as_the_grid(make_sites: Callable[..., Sites]) -> None:
    sites = make_sites((4, 12, 12), 200)
    flat = dynamic_sets(sites, (4, 6, 6), (2, 3, 3), 9)
    assert torch.equal(flat.rows, dynamic_sets(sites, (4, 6, 6), (0, 3, 3), 9).rows)
    assert len(dynamic_sets(sites, (2, 6, 6), (1, 3, 3), 9).windows) > len(flat.windows)


def test_values_come_back_and_gradients_count_every_slot(make_sites: Callable[..., Sites]) -> None:
    sites = make_sites((6, 12, 12), 100, shuffled=True)
    sets = dynamic_sets(sites, 6, 2, 8)
    features = torch.randn(len(sites), 2, dtype=torch.float64, requires_grad=True)
    for axis in (0, 1):
        assert torch.equal(sets.put_back(sets.take(features, axis), axis), features)
        (gradient,) = torch.autograd.grad(sets.take(features, axis).sum(), features)
        assert torch.equal(gradient[:, 0].long(), sets.rows[axis].flatten().bincount(minlength=len(sites)))
    few = window_sets(partition(make_sites((4, 4), 8), 4), 3)
    leaf = torch.randn(len(few.windows.order), 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: few.put_back(few.take(f, 0).cumsum(1), 0), leaf)


def test_same_bits_for_any_number_of_threads(make_sites: Callable[..., Sites], thread_counts: Callable) -> None:
    sites = make_sites((8, 30, 30), 4000, shuffled=True)
    features = torch.randn(len(sites), 16)

    def run() -> list[torch.Tensor]:
        sets, leaf = dynamic_sets(sites, (8, 6, 6), (0, 3, 3), 18), features.clone().requires_grad_()
        output = sets.put_back(sets.take(leaf, 1).cumsum(1), 1)
        (gradient,) = torch.autograd.grad((output * features.cos()).sum(), leaf)
        return [output.detach(), gradient, sets.rows, sets.slot]

    thread_counts(run)


def test_bad_size_is_refused(make_sites: Callable[..., Sites]) -> None:
    with pytest.raises(PerceptionError, match="sets of 0 slots"):
        dynamic_sets(make_sites((4, 4), 5), 2, 0, 0)


@pytest.mark.parametrize("name", ["dsvt_pillar", "dsvt_pillar_b2", "dsvt_voxel", "dsvt_voxel_b2"])
def test_counts_of_the_official_model(name: str, shared_golden: Path) -> None:
    stored = np.load(shared_golden / "detection_keypoints" / f"{name}.npz")
    meta = json.loads(str(stored["meta"]))
    first = torch.from_numpy(stored["dsvt.stage0.block0/coords_all"].astype(np.int32))
    voxels = "voxel" in name
    sites = Sites.of(first, (32 if voxels else 1, 468, 468), meta["batch_size"])
    for stage, height in enumerate((32, 8, 2, 1) if voxels else (1,)):
        for partition_number, (width, shift) in enumerate(((12, 0), (24, 6))):
            sets = dynamic_sets(sites, (height, width, width), (0, shift, shift), 48 if voxels else 36)
            expected = meta["stages"][f"dsvt.sets.{stage}.{partition_number}"]
            check(sets, expected["n_voxels"])
            assert sets.rows.shape[1] == expected["n_sets"]
            assert int(sets.repeated.sum()) == expected["masked"]
        if height > 1:
            table = block_table(sites, (2 if height == 2 else 4, 1, 1))
            assert table.output is not None
            sites = table.output
