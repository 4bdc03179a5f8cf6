"""Windows and their padding against loops in Python."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable

import pytest
import torch

from perception.errors import PerceptionError
from perception.sparse import Sites
from perception.sparse.windows import Origin, Windows, pad, partition

CASES = [
    ((9, 8), 3, 0, "grid"),
    ((9, 8), (4, 3), (2, 0), "grid"),
    ((5, 9, 8), (5, 3, 4), (0, 1, 3), "grid"),
    ((7, 9, 8), 6, 0, "lowest in batch"),
    ((7, 9, 8), (6, 5, 1), (3, 2, 0), "lowest in sample"),
    ((1, 20, 20), (1, 12, 12), (0, 6, 6), "grid"),
]


def loop(sites: Sites, size: list[int], shift: list[int], origin: Origin) -> dict[tuple[int, ...], list[int]]:
    """Rows by (batch, window z, y, x)."""
    cells = sites.coordinates.tolist()
    windows = defaultdict(list)
    for row, (sample, *cell) in enumerate(cells):
        counted = {"grid": [], "lowest in batch": cells, "lowest in sample": [c for c in cells if c[0] == sample]}[
            origin
        ]
        low = [min((c[1 + axis] for c in counted), default=0) for axis in range(len(size))]
        windows[(sample, *((c - o + s) // w for c, o, s, w in zip(cell, low, shift, size)))].append(row)
    return dict(sorted(windows.items()))


def as_list(value: int | tuple[int, ...], dimension: int) -> list[int]:
    return [value] * dimension if isinstance(value, int) else list(value)


@pytest.mark.parametrize(("shape", "size", "shift", "origin"), CASES)
@pytest.mark.parametrize("rows", [0, 1, 120])
@pytest.mark.parametrize("shuffled", [False, True])
def test_partition_equals_a_loop(
    make_sites: Callable[..., Sites],
    shape: tuple[int, ...],
    size: int | tuple[int, ...],
    shift: int | tuple[int, ...],
    origin: Origin,
    rows: int,
    shuffled: bool,
) -> None:
    sites = make_sites(shape, rows, shuffled=shuffled)
    if origin != "grid":  # away from cell 0, by another distance on every axis
        away = sites.coordinates + torch.tensor([0, 3, 1, 2], dtype=torch.int32)
        sites = Sites.of(away, tuple(n + 3 for n in shape), 3)
    windows = partition(sites, size, shift, origin)
    sizes, shifts = as_list(size, len(shape)), as_list(shift, len(shape))
    expected = loop(sites, sizes, shifts, origin)
    assert len(windows) == len(expected)
    bounds = windows.offsets.tolist()
    assert [windows.order[a:b].tolist() for a, b in itertools.pairwise(bounds)] == list(expected.values())
    for number, rows_of in enumerate(expected.values()):
        assert (windows.window[rows_of] == number).all()
    assert windows.counts.tolist() == [len(rows_of) for rows_of in expected.values()]
    assert ((windows.cell >= 0) & (windows.cell < torch.tensor(sizes))).all()
    if origin == "grid":
        assert torch.equal(windows.cell, (sites.coordinates[:, 1:].long() + torch.tensor(shifts)) % torch.tensor(sizes))


def test_the_lowest_cell_of_a_sample_does_not_move_another(make_sites: Callable[..., Sites]) -> None:
    cells = torch.tensor([[0, 3, 4], [0, 5, 5], [1, 1, 7]])
    both = partition(Sites.of(cells, (9, 9), 2), 3, 0, "lowest in sample")
    alone = partition(Sites.of(cells[:2], (9, 9), 1), 3, 0, "lowest in sample")
    assert torch.equal(both.cell[:2], alone.cell)
    assert not torch.equal(partition(Sites.of(cells, (9, 9), 2), 3, 0, "lowest in batch").cell[:2], alone.cell)


@pytest.mark.parametrize("rows", [0, 1, 300])
@pytest.mark.parametrize("lengths", [None, [100], [40, 2, 7, 100]])
def test_padding_and_back(make_sites: Callable[..., Sites], rows: int, lengths: list[int] | None) -> None:
    windows = partition(make_sites((6, 12, 12), rows, shuffled=True), (6, 5, 4), (0, 2, 1))
    buckets = pad(windows, lengths)
    features = torch.randn(len(windows.order), 5)
    taken = buckets.take(features)
    seen = []
    for bucket, values in zip(buckets.buckets, taken, strict=True):
        allowed = lengths or [16, 32, 64, 128]
        assert bucket.rows.shape[1] in allowed
        for window, numbers, filled, slots in zip(bucket.windows.tolist(), bucket.rows, bucket.filled, values):
            own = windows.order[windows.offsets[window] : windows.offsets[window + 1]]
            assert numbers[filled].tolist() == own.tolist()
            assert filled[: len(own)].all()
            assert len(numbers) == min(length for length in allowed if length >= len(own))
            assert torch.equal(slots[filled], features[own])
            assert (slots[~filled] == 0).all()
            seen.append(window)
    assert sorted(seen) == list(range(len(windows)))
    assert torch.equal(buckets.put_back(taken), features)


def test_gradients_and_threads(make_sites: Callable[..., Sites], thread_counts: Callable) -> None:
    small = pad(partition(make_sites((4, 4), 12), 2, 1), [1, 3, 4])
    features = torch.randn(len(small.slot), 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: small.put_back([v.cumsum(1) for v in small.take(f)]), features)

    sites = make_sites((8, 30, 30), 4000, shuffled=True)
    many = torch.randn(len(sites), 16)

    def run() -> list[torch.Tensor]:
        windows = partition(sites, 6, 3, "lowest in batch")
        buckets, leaf = pad(windows), many.clone().requires_grad_()
        output = buckets.put_back([v.cumsum(1) * v for v in buckets.take(leaf)])
        (gradient,) = torch.autograd.grad((output * many.cos()).sum(), leaf)
        return [output.detach(), gradient, windows.order, windows.window, windows.cell]

    thread_counts(run)


def test_a_padded_slot_has_no_weight_in_attention(make_sites: Callable[..., Sites]) -> None:
    windows = partition(make_sites((6, 12, 12), 200), 6)
    buckets, features = pad(windows), torch.randn(len(windows.order), 8, dtype=torch.float64)
    attend = torch.nn.functional.scaled_dot_product_attention
    answers = [
        attend(values, values, values, attn_mask=bucket.filled[:, None])
        for bucket, values in zip(buckets.buckets, buckets.take(features))
    ]
    output = buckets.put_back(answers)
    for window in range(len(windows)):
        own = features[windows.window == window]
        torch.testing.assert_close(output[windows.window == window], attend(own[None], own[None], own[None])[0])


def test_bad_arguments_are_refused(make_sites: Callable[..., Sites]) -> None:
    sites = make_sites((6, 6), 30)
    for size, shift in ((3, 3), (3, -1), (0, 0)):
        with pytest.raises(PerceptionError, match="shift < size"):
            partition(sites, size, shift)
    with pytest.raises(PerceptionError, match="for 2 dimensions"):
        partition(sites, (3, 3, 3))
    with pytest.raises(PerceptionError, match="'centre'"):
        partition(sites, 3, 0, "centre")  # type: ignore[arg-type]
    windows: Windows = partition(sites, 6)
    with pytest.raises(PerceptionError, match="largest window"):
        pad(windows, [2])
    with pytest.raises(PerceptionError, match="largest window"):
        pad(windows, [])
    buckets = pad(windows)
    with pytest.raises(PerceptionError, match="windows, slots, channels"):
        buckets.put_back([value[:, 1:] for value in buckets.take(torch.zeros(len(sites), 2))])
