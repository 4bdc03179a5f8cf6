"""Attention pooling against a loop over blocks with torch's own attention."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from perception.errors import PerceptionError
from perception.sparse import Sites, SparseTensor
from perception.sparse.attention_pool import AttentionPool, block_table

SIZES = [(2, 1, 1), (4, 2, 3), (1, 1, 1), (3, 3, 3)]


def loop(pool: AttentionPool, x: SparseTensor) -> dict[tuple[int, ...], torch.Tensor]:
    """Pooled features by the block's coordinates."""
    blocks: dict[tuple[int, ...], list[int]] = {}
    size = (1, *pool.size)
    for row, cell in enumerate(x.coordinates.tolist()):
        blocks.setdefault(tuple(c // s for c, s in zip(cell, size)), []).append(row)
    answers = {}
    for block, rows in blocks.items():
        slots = torch.zeros(len(pool.position), x.channels, dtype=x.features.dtype)
        used = torch.zeros(len(slots), dtype=torch.bool)
        for row in rows:
            z, y, px = (c % s for c, s in zip(x.coordinates[row, 1:].tolist(), pool.size))
            place = (px * pool.size[1] + y) * pool.size[0] + z
            slots[place], used[place] = x.features[row], True
        kept = slice(None) if pool.empty_slots else used
        query = slots[kept].amax(0)
        answer, _ = pool.attention(query[None], (slots + pool.position)[kept], slots[kept])
        answers[block] = pool.norm(query + answer[0])
    return answers


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("empty_slots", [True, False])
@pytest.mark.parametrize("rows", [0, 1, 90])
def test_equals_a_loop(
    make_sites: Callable[..., Sites], size: tuple[int, int, int], empty_slots: bool, rows: int
) -> None:
    sites = make_sites((7, 5, 8), rows, shuffled=True)
    x = SparseTensor(torch.randn(len(sites), 8, dtype=torch.float64), sites)
    pool = AttentionPool(8, size, heads=2, empty_slots=empty_slots).double()
    torch.nn.init.normal_(pool.position)
    pooled = pool(x)
    expected = loop(pool, x)
    assert pooled.sites.spatial_shape == tuple(-(-n // s) for n, s in zip((7, 5, 8), size))  # the border is kept
    assert {tuple(cell) for cell in pooled.coordinates.tolist()} == set(expected)
    for cell, features in zip(pooled.coordinates.tolist(), pooled.features):
        torch.testing.assert_close(features, expected[tuple(cell)])


@pytest.mark.parametrize("empty_slots", [True, False])
def test_gradients(make_sites: Callable[..., Sites], empty_slots: bool) -> None:
    sites = make_sites((4, 3, 3), 12)
    pool = AttentionPool(4, 2, heads=2, empty_slots=empty_slots).double()
    features = torch.randn(len(sites), 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: pool(SparseTensor(f, sites)).features, features)


def test_same_bits_for_any_number_of_threads(make_sites: Callable[..., Sites], thread_counts: Callable) -> None:
    sites = make_sites((8, 30, 30), 3000)
    features, pool = torch.randn(len(sites), 16), AttentionPool(16, (4, 1, 1))

    def run() -> list[torch.Tensor]:
        leaf = features.clone().requires_grad_()
        output = pool(SparseTensor(leaf, sites)).features
        return [output.detach(), *torch.autograd.grad((output * output.detach().sin()).sum(), leaf)]

    thread_counts(run)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(PerceptionError, match="9 channels for 2 heads"):
        AttentionPool(9, 2, heads=2)
    with pytest.raises(PerceptionError, match="blocks of"):
        AttentionPool(8, (0, 1, 1))


@pytest.mark.parametrize("name", ["dsvt_voxel", "dsvt_voxel_b2"])
def test_levels_of_the_official_model(name: str, shared_golden: Path) -> None:
    stored = np.load(shared_golden / "detection_keypoints" / f"{name}.npz")
    first = torch.from_numpy(stored["dsvt.stage0.block0/coords_all"].astype(np.int32))
    sites = Sites.of(first, (32, 468, 468), int(first[:, 0].max()) + 1)
    for stage, height in ((1, 4), (2, 4), (3, 2)):
        table = block_table(sites, (height, 1, 1))
        assert table.output is not None
        sites = table.output
        expected = torch.from_numpy(stored[f"dsvt.stage{stage}.block0/coords_all"].astype(np.int32)).unique(dim=0)
        assert torch.equal(sites.coordinates, expected)
