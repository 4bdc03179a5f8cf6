"""Pooling against dense torch pooling with empty cells left out."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from perception.errors import PerceptionError
from perception.sparse import Sites, SparseTensor
from perception.sparse.pool import GlobalPool, MaxPool, MeanPool, global_max, global_mean, max_pool, mean_pool

SHAPES = {2: (13, 10), 3: (7, 9, 11)}
CASES = [(2, 2, 0, 1), (3, 2, 1, 1), (3, 1, 1, 1), (3, 3, 0, 1), (2, 1, 0, 2), (1, 1, 0, 1)]


@pytest.fixture
def tensor_on(make_sites: Callable[..., Sites]) -> Callable[..., SparseTensor]:
    def make(shape: tuple[int, ...], rows: int, shuffled: bool = False, channels: int = 4) -> SparseTensor:
        sites = make_sites(shape, rows, shuffled=shuffled)
        return SparseTensor(torch.randn(len(sites), channels, dtype=torch.float64).requires_grad_(), sites)

    return make


def spread(x: SparseTensor, empty: float) -> torch.Tensor:
    """Dense features (batch, C, ...) with ``empty`` where there is no cell."""
    occupied = x.map(lambda f: torch.ones_like(f)).dense() > 0
    return torch.where(occupied, x.dense(), empty)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), CASES)
@pytest.mark.parametrize("rows", [0, 1, 150])
@pytest.mark.parametrize("shuffled", [False, True])
def test_max_equals_dense(
    tensor_on: Callable[..., SparseTensor],
    dimension: int,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    rows: int,
    shuffled: bool,
) -> None:
    x = tensor_on(SHAPES[dimension], rows, shuffled)
    dense_pool = F.max_pool2d if dimension == 2 else F.max_pool3d
    dense = dense_pool(spread(x, -math.inf), kernel, stride, padding, dilation)
    pooled = max_pool(x, kernel, stride, padding, dilation)
    assert pooled.sites.spatial_shape == tuple(dense.shape[2:])
    assert torch.equal(spread(pooled, -math.inf), dense)  # the same cells too
    with torch.no_grad():
        assert torch.equal(max_pool(x, kernel, stride, padding, dilation).features, pooled.features)
    if rows > 1:
        weight = torch.randn_like(dense)
        (ours,) = torch.autograd.grad((pooled.dense() * weight).sum(), x.features)
        (theirs,) = torch.autograd.grad((dense[dense > -math.inf] * weight[dense > -math.inf]).sum(), x.features)
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), [c for c in CASES if c[3] == 1])
@pytest.mark.parametrize("rows", [0, 1, 150])
def test_mean_counts_occupied_cells_alone(
    tensor_on: Callable[..., SparseTensor],
    dimension: int,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    rows: int,
) -> None:
    x = tensor_on(SHAPES[dimension], rows)
    dense_pool = F.avg_pool2d if dimension == 2 else F.avg_pool3d
    total = dense_pool(x.dense(), kernel, stride, padding, divisor_override=1)
    count = dense_pool(x.map(torch.ones_like).dense(), kernel, stride, padding, divisor_override=1)
    pooled = mean_pool(x, kernel, stride, padding, dilation)
    torch.testing.assert_close(pooled.dense(), total / count.clamp(min=1))
    assert torch.equal(pooled.map(torch.ones_like).dense(), (count > 0).double())


@pytest.mark.parametrize("pool", [max_pool, mean_pool])
def test_gradients(pool: Callable[..., SparseTensor], tensor_on: Callable[..., SparseTensor]) -> None:
    x = tensor_on((4, 5, 6), 40, channels=2)
    assert torch.autograd.gradcheck(lambda f: pool(x.with_features(f), 3, 2, 1).features, x.features)


def test_ties_go_to_the_first_tap_and_nan_is_kept() -> None:
    sites = Sites.of(torch.tensor([[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]]), (2, 2), 1)
    features = torch.tensor([[1.0, 0], [2, torch.nan], [2, 5], [2, torch.nan]], requires_grad=True)
    pooled = max_pool(SparseTensor(features, sites), 2).features
    assert pooled[0, 0] == 2
    assert pooled[0, 1].isnan()
    pooled.sum().backward()
    assert features.grad is not None
    assert features.grad.tolist() == [[0, 0], [1, 1], [0, 0], [0, 0]]


def test_features_of_minus_infinity_are_features(tensor_on: Callable[..., SparseTensor]) -> None:
    x = tensor_on((3, 4), 9)
    low = x.with_features(torch.full_like(x.features, -torch.inf).requires_grad_())
    pooled = max_pool(low, 2).features
    assert (pooled == -torch.inf).all()
    assert torch.autograd.grad(pooled.sum(), low.features)[0].sum() == pooled.numel()


@pytest.mark.parametrize("rows", [0, 1, 60])
def test_global_pools(rows: int, tensor_on: Callable[..., SparseTensor]) -> None:
    x = tensor_on((5, 6, 7), rows)
    for sample in range(3):
        chosen = x.features[x.coordinates[:, 0] == sample]
        zero = torch.zeros(4, dtype=torch.float64)
        torch.testing.assert_close(global_mean(x)[sample], chosen.mean(0) if len(chosen) else zero)
        torch.testing.assert_close(global_max(x)[sample], chosen.amax(0) if len(chosen) else zero)
    assert global_mean(x).shape == (3, 4)
    torch.testing.assert_close(GlobalPool("max")(x), global_max(x))
    torch.testing.assert_close(GlobalPool("mean")(x), global_mean(x))


def test_layers_are_the_functions(tensor_on: Callable[..., SparseTensor]) -> None:
    x = tensor_on((7, 9, 11), 100)
    assert torch.equal(MaxPool((1, 3, 3), 2, (0, 1, 1))(x).features, max_pool(x, (1, 3, 3), 2, (0, 1, 1)).features)
    assert torch.equal(MeanPool(2)(x).features, mean_pool(x, 2).features)
    assert MaxPool(2)(x).sites is MeanPool(2)(x).sites  # one table serves both


def test_same_bits_for_any_number_of_threads(make_sites: Callable[..., Sites], thread_counts: Callable) -> None:
    sites = make_sites((12, 30, 30), 4000)
    features = torch.randn(len(sites), 16)
    direction = torch.randn(len(max_pool(SparseTensor(features, sites), 2, 1)), 16)

    def run() -> list[torch.Tensor]:
        found = []
        for pool in (max_pool, mean_pool):
            leaf = features.clone().requires_grad_()
            output = pool(SparseTensor(leaf, sites), 2, 1).features
            found += [output.detach(), *torch.autograd.grad((output * direction).sum(), leaf)]
        for whole in (global_max, global_mean):
            leaf = features.clone().requires_grad_()
            total = whole(SparseTensor(leaf, sites))
            found += [total.detach(), *torch.autograd.grad((total * total.detach().cos()).sum(), leaf)]
        return found

    thread_counts(run)


def test_bad_settings_are_refused(tensor_on: Callable[..., SparseTensor]) -> None:
    x = tensor_on((5, 6, 7), 10)
    for arguments in ((0,), (2, 0), (2, 2, -1), (2, 2, 0, 0)):
        with pytest.raises(PerceptionError, match="positive"):
            max_pool(x, *arguments)
    with pytest.raises(PerceptionError, match="for 3 dimensions"):
        mean_pool(x, (2, 2))
    with pytest.raises(PerceptionError, match="shrinks"):
        max_pool(x, 6)
    with pytest.raises(PerceptionError, match="'median'"):
        GlobalPool("median")  # type: ignore[arg-type]
