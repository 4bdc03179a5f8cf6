"""Focal convolution: the same numbers as without its short cuts, gradients, empty inputs, old weight layouts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from perception.backbones.focal import FocalConv, FocalEncoder, FocalOptions, FocusedTensor, importances
from perception.errors import PerceptionError
from perception.sparse import SparseTensor
from perception.sparse.growth import by_share, grow

OPTIONS = FocalOptions(enlarge=None, mask=True)
SHAPE = (33, 16, 16)


def volume(number: int = 300, channels: int = 8, batch: int = 2) -> SparseTensor:
    generator = torch.Generator().manual_seed(number)
    columns = [torch.randint(0, size, (number,), generator=generator) for size in (batch, *SHAPE)]
    cells = torch.stack(columns, 1).unique(dim=0)
    return SparseTensor.of(torch.randn(len(cells), channels, generator=generator), cells, SHAPE, batch)


def layer(options: FocalOptions, channels: int = 8) -> FocalConv:
    torch.manual_seed(3)
    conv = FocalConv(channels, options)
    for norm in (module for module in conv.modules() if isinstance(module, nn.BatchNorm1d)):
        nn.init.normal_(norm.running_mean, 0, 0.1)  # type: ignore[arg-type]
        nn.init.uniform_(norm.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    return conv


def long_way(conv: FocalConv, x: SparseTensor) -> Tensor:
    """The definition: put zeros in all new cells and convolve on the whole grown set."""
    logits = conv.importance(x if conv.enlarge is None else conv.enlarge(x)).features
    p, options = logits.sigmoid(), conv.options
    split = by_share(p[:, -1], x.sites, options.threshold)
    growth = grow(x.sites, split, p[:, :-1], options.kernel, options.threshold)
    features = x.features * growth.weight * (p[:, -1:] if options.mask else 1.0)
    everything = features.new_zeros((len(growth.sites), x.channels))
    everything = everything.index_add(0, growth.sites.find(x.coordinates), features)
    return conv.spread(SparseTensor(everything, growth.sites)).features


@pytest.mark.parametrize("options", [OPTIONS, FocalOptions(enlarge=16, kernel=5)])
def test_new_cells_need_not_be_read(options: FocalOptions) -> None:
    conv, x = layer(options).eval(), volume()
    grown = conv(x)
    assert len(grown) > 1.5 * len(x)
    torch.testing.assert_close(grown.features, long_way(conv, x), atol=1e-5, rtol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(conv(x).features, grown.features, atol=1e-5, rtol=1e-5)


def test_gradients_are_those_of_the_definition() -> None:
    conv, x = layer(OPTIONS).train(), volume()
    weights = torch.randn(len(conv.eval()(x)), 8, generator=torch.Generator().manual_seed(1))
    found = []
    for answer in (lambda: conv(x).features, lambda: long_way(conv, x)):
        conv.zero_grad()
        (answer() * weights).sum().backward()
        found.append([parameter.grad.clone() for parameter in conv.parameters() if parameter.grad is not None])
    assert len(found[0]) == len(list(conv.parameters()))
    for short, long in zip(*found):
        torch.testing.assert_close(short, long, atol=1e-4, rtol=1e-4)


def test_every_merge_gives_a_batch_the_answers_of_its_samples() -> None:
    x = volume()
    for merge in ("coordinates", "int64_exact", "float32_stable", "doubled"):
        conv = layer(replace(OPTIONS, merge=merge)).eval()
        whole = conv(x)
        for sample in (0, 1):
            rows, chosen = x.coordinates[:, 0] == sample, whole.coordinates[:, 0] == sample
            alone = x.coordinates[rows] * torch.tensor([0, 1, 1, 1], dtype=torch.int32)
            one = conv(SparseTensor.of(x.features[rows], alone, SHAPE, 1))
            assert torch.equal(one.coordinates[:, 1:], whole.coordinates[chosen, 1:])
            torch.testing.assert_close(one.features, whole.features[chosen], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("training", [True, False])
def test_nothing_and_one_cell(number: int, training: bool) -> None:
    encoder = FocalEncoder(4, FocalOptions()).train(training)
    maps = encoder.stages(
        SparseTensor.of(torch.ones(number, 4), torch.tensor([[1, 20, 32, 0]])[:number], (41, 64, 64), 3)
    )
    assert [isinstance(stage, FocusedTensor) for stage in maps] == [True, True, True, False]
    assert len(importances(maps)) == 3
    assert all(torch.isfinite(stage.features).all() for stage in maps)


def test_importances_belong_to_the_cells_before_growth() -> None:
    encoder = FocalEncoder(4, FocalOptions(use_stages=(1, 3), kernel=5)).eval()
    x = volume(channels=4)
    maps = encoder.stages(x)
    first, third = importances(maps)
    assert torch.equal(first.sites.coordinates, x.coordinates)
    assert len(first.logits) == len(x) < len(maps[0])
    assert third.sites.stride == (4, 4, 4)
    assert len(third.logits) == len(third.sites) <= len(maps[2])


@pytest.mark.parametrize("values", [{"use_stages": (1, 4)}, {"kernel": 4}, {"kernel": 1}, {"threshold": 1.5}])
def test_options_that_cannot_be(values: dict[str, object]) -> None:
    with pytest.raises(PerceptionError, match=r"focal|threshold"):
        FocalOptions(**values)  # type: ignore[arg-type]
