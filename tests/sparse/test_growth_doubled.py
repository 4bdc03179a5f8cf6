"""Background cells beside proposals for them: against the published code's rows, written out pair by pair."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from perception.backbones.focal import FocalConv, FocalOptions
from perception.sparse import SparseTensor
from perception.sparse.growth import by_share, grow, propose

SHAPE = (6, 9, 8)
CHANNELS = 4
OPTIONS = FocalOptions(enlarge=None, mask=True, average=False, merge="doubled")


def layer() -> FocalConv:
    torch.manual_seed(3)
    conv = FocalConv(CHANNELS, OPTIONS)
    torch.nn.init.normal_(conv.spread.norm.bias)
    return conv


def volume(number: int = 90, seed: int = 0) -> SparseTensor:
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(0, size, (number,), generator=generator) for size in (2, *SHAPE)]
    cells = torch.stack(columns, 1).unique(dim=0)
    return SparseTensor.of(torch.randn(len(cells), CHANNELS, generator=generator), cells, SHAPE, 2)


def rows_as_published(conv: FocalConv, x: SparseTensor) -> tuple[list[tuple[int, ...]], Tensor]:
    """Cells and features of the rows: foreground and proposals once each, then the background, cells twice and all."""
    p = conv.importance(x).features.sigmoid()
    proposals = propose(x.sites, by_share(p[:, -1], x.sites, 0.5), p[:, :-1], 3, 0.5)
    features = x.features * p[:, -1:]
    own = [tuple(cell) for cell in x.coordinates.tolist()]
    front = {own[row]: features[row] for row in proposals.foreground.tolist()}
    for cell in map(tuple, proposals.cells.tolist()):
        front.setdefault(cell, torch.zeros(CHANNELS))
    background = proposals.background.tolist()
    cells = [*front, *(own[row] for row in background)]
    return cells, torch.stack([*front.values(), *(features[row] for row in background)])


def long_way(conv: FocalConv, x: SparseTensor) -> dict[tuple[int, ...], Tensor]:
    """spconv's pairs with a table that knows the first row of each cell; activated rows summed by cell."""
    cells, features = rows_as_published(conv, x)
    table: dict[tuple[int, ...], int] = {}
    for row, cell in enumerate(cells):
        table.setdefault(cell, row)
    taps = conv.spread.conv.taps()
    steps = list(itertools.product((-1, 0, 1), repeat=3))
    outputs = [taps[:, 13] @ feature for feature in features]
    for row, (sample, *cell) in enumerate(cells):
        for tap in range(14, 27):
            other = table.get((sample, *(a + b for a, b in zip(cell, steps[tap]))))
            if other is not None:
                outputs[row] = outputs[row] + taps[:, tap] @ features[other]
                outputs[other] = outputs[other] + taps[:, 26 - tap] @ features[row]
    activated = conv.spread.norm(torch.stack(outputs)).relu()
    found: dict[tuple[int, ...], Tensor] = {}
    for cell, feature in zip(cells, activated):
        found[cell] = found[cell] + feature if cell in found else feature
    return found


@pytest.mark.parametrize("training", [True, False])
def test_rows_summed_by_cell_are_those_of_the_pairs_written_out(training: bool) -> None:
    conv, x = layer().train(training), volume()
    found, wanted = conv(x), long_way(conv, x)
    cells = [tuple(cell) for cell in found.coordinates.tolist()]
    assert cells == sorted(wanted)
    torch.testing.assert_close(found.features, torch.stack([wanted[cell] for cell in cells]), atol=1e-5, rtol=1e-5)
    if not training:
        with torch.inference_mode():
            torch.testing.assert_close(conv(x).features, found.features, atol=1e-5, rtol=1e-5)


def test_gradients_are_those_of_the_pairs_written_out() -> None:
    conv, x = layer().train(), volume()
    scale = torch.randn(CHANNELS, generator=torch.Generator().manual_seed(1))
    found = []
    for answer in (lambda: conv(x).features.sum(0), lambda: torch.stack(list(long_way(conv, x).values())).sum(0)):
        conv.zero_grad()
        (answer() * scale).sum().backward()
        found.append([parameter.grad.clone() for parameter in conv.parameters() if parameter.grad is not None])
    assert len(found[0]) == len(list(conv.parameters()))
    for short, long in zip(*found):
        torch.testing.assert_close(short, long, atol=1e-4, rtol=1e-4)


def test_doubled_are_the_proposed_cells_of_the_background() -> None:
    x = volume(200, 1)
    p = torch.rand((len(x), 27), generator=torch.Generator().manual_seed(2))
    split = by_share(p[:, -1], x.sites, 0.5)
    growth = grow(x.sites, split, p[:, :-1], 3, 0.5, "doubled")
    proposed = set(map(tuple, propose(x.sites, split, p[:, :-1], 3, 0.5).cells.tolist()))
    background = set(split[1].tolist())
    wanted = [
        row for row, cell in enumerate(map(tuple, x.coordinates.tolist())) if row in background and cell in proposed
    ]
    assert growth.doubled is not None
    assert growth.doubled.tolist() == wanted
    assert len(wanted) > 5
    assert grow(x.sites, split, p[:, :-1], 3, 0.5).doubled is None


@pytest.mark.parametrize("number", [0, 1])
def test_nothing_and_one_cell(number: int) -> None:
    x = volume(number)
    for training in (True, False):
        assert len(layer().train(training)(x)) >= number
