"""The reference sparse convolution against dense torch convolution, forward and backward."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from perception.errors import PerceptionError
from perception.sparse import InverseConv, SparseConv, SparseTensor, SubmanifoldConv, TransposedConv

SHAPES = {2: (13, 10), 3: (7, 9, 11)}
DENSE = {2: F.conv2d, 3: F.conv3d}
DENSE_TRANSPOSED = {2: F.conv_transpose2d, 3: F.conv_transpose3d}


def random_tensor(dimension: int, channels: int = 5, rows: int = 60) -> SparseTensor:
    """Three samples of unequal size, the middle one empty, with the first and the last cell of the grid occupied."""
    shape = SHAPES[dimension]
    cells = torch.stack([torch.randint(0, s, (rows,)) for s in shape], 1)
    batch = torch.where(torch.arange(rows) < rows // 3, 0, 2)
    corners = torch.tensor([[0] + [0] * dimension, [2] + [s - 1 for s in shape]])
    coordinates = torch.cat([corners, torch.cat([batch[:, None], cells], 1)]).unique(dim=0)
    features = torch.randn(len(coordinates), channels, dtype=torch.float64)
    return SparseTensor.of(features, coordinates[torch.randperm(len(coordinates))], shape, 3)


def dense_weight(weight: torch.Tensor) -> torch.Tensor:
    return weight.movedim(-1, 1)


def at_sites(dense: torch.Tensor, sites: SparseTensor) -> torch.Tensor:
    return dense.movedim(1, -1)[tuple(sites.coordinates.long().unbind(1))]


def occupied(x: SparseTensor) -> torch.Tensor:
    return x.map(lambda f: torch.ones_like(f[:, :1])).dense()


def compare_gradients(sparse: torch.Tensor, dense: torch.Tensor, features: torch.Tensor, weight: torch.Tensor) -> None:
    """Both answers, whose rows correspond, must have the same values and the same gradients."""
    torch.testing.assert_close(sparse, dense)
    direction = torch.randn_like(sparse)
    ours = torch.autograd.grad((sparse * direction).sum(), [features, weight], retain_graph=True)
    theirs = torch.autograd.grad((dense * direction).sum(), [features, weight])
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b)


KERNELS = [(2, 1), (2, 3), (2, (5, 3)), (3, 1), (3, 3), (3, 5), (3, (3, 1, 1)), (3, (1, 5, 3))]


@pytest.mark.parametrize(("dimension", "kernel"), KERNELS)
@pytest.mark.parametrize("dilation", [1, 2])
def test_submanifold_equals_dense(dimension: int, kernel: int | tuple[int, ...], dilation: int) -> None:
    x = random_tensor(dimension)
    features = x.features.requires_grad_()
    layer = SubmanifoldConv(5, 4, kernel, dilation=dilation, bias=True, dimension=dimension).double()
    output = layer(x)
    padding = [(k - 1) * dilation // 2 for k in layer.kernel]
    dense = DENSE[dimension](x.dense(), dense_weight(layer.weight), layer.bias, padding=padding, dilation=dilation)
    assert output.sites is x.sites
    compare_gradients(output.features, at_sites(dense, x), features, layer.weight)


STRIDED = [
    (2, 3, 2, 1, 1),
    (2, 2, 2, 0, 1),
    (2, (5, 3), (1, 3), (2, 0), 1),
    (3, 3, 2, 1, 1),
    (3, 3, 2, (0, 1, 1), 1),
    (3, (3, 1, 1), (2, 1, 1), 0, 1),
    (3, 5, 2, 2, 1),
    (3, 1, 2, 0, 1),
    (3, 3, 1, 1, 1),
    (3, 3, (1, 2, 3), 2, 2),
]


@pytest.mark.parametrize(("dimension", "kernel", "stride", "padding", "dilation"), STRIDED)
def test_strided_equals_dense(dimension: int, kernel: object, stride: object, padding: object, dilation: int) -> None:
    x = random_tensor(dimension)
    features = x.features.requires_grad_()
    layer = SparseConv(5, 4, kernel, stride, padding, dilation, dimension=dimension).double()
    output = layer(x)
    dense = DENSE[dimension](x.dense(), dense_weight(layer.weight), None, layer.stride, layer.padding, layer.dilation)
    assert output.sites.spatial_shape == tuple(dense.shape[2:])
    reached = DENSE[dimension](
        occupied(x), torch.ones(1, 1, *layer.kernel).double(), None, layer.stride, layer.padding, layer.dilation
    )
    torch.testing.assert_close(occupied(output), (reached > 0.5).double())
    compare_gradients(output.features, at_sites(dense, output), features, layer.weight)


TRANSPOSED = [(2, 2, 2, 0, 0), (2, 3, 2, 1, 1), (3, 2, 2, 0, 0), (3, 3, 2, 1, 1), (3, (3, 1, 1), (2, 1, 1), 0, 0)]


@pytest.mark.parametrize(("dimension", "kernel", "stride", "padding", "extra"), TRANSPOSED)
def test_transposed_equals_dense(dimension: int, kernel: object, stride: object, padding: int, extra: int) -> None:
    x = random_tensor(dimension)
    features = x.features.requires_grad_()
    layer = TransposedConv(5, 4, kernel, stride, padding, output_padding=extra, dimension=dimension).double()
    output = layer(x)
    weight = layer.weight.movedim(-1, 0)
    dense = DENSE_TRANSPOSED[dimension](x.dense(), weight, None, layer.stride, layer.padding, layer.output_padding)
    assert output.sites.spatial_shape == tuple(dense.shape[2:])
    compare_gradients(output.features, at_sites(dense, output), features, layer.weight)


@pytest.mark.parametrize("dimension", [2, 3])
def test_inverse_returns_to_the_encoder_sites(dimension: int) -> None:
    x = random_tensor(dimension)
    encoder = SparseConv(5, 6, 3, 2, 1, dimension=dimension).double()
    middle = encoder(x)
    features = middle.features.detach().requires_grad_()
    layer = InverseConv(6, 4, 3, dimension=dimension).double()
    output = layer(middle.with_features(features), encoder, x.sites)
    assert output.sites is x.sites
    weight = layer.weight.movedim(-1, 0)
    dense = DENSE_TRANSPOSED[dimension](
        middle.with_features(features).dense(), weight, None, 2, 1, [1 - s % 2 for s in SHAPES[dimension]]
    )
    compare_gradients(output.features, at_sites(dense, output), features, layer.weight)


def test_inverse_of_another_layer_is_refused() -> None:
    x = random_tensor(3)
    encoder, other = SparseConv(5, 6, 3, 2, 1).double(), SparseConv(5, 6, 3, 2, 0).double()
    with pytest.raises(PerceptionError, match="other sites"):
        InverseConv(6, 4, 3).double()(encoder(x), other, x.sites)


def test_gradcheck() -> None:
    x = random_tensor(3, channels=2, rows=12)
    layer = SparseConv(2, 3, 3, 2, 1).double()

    def run(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, {"weight": weight}, (x.with_features(features),)).features

    assert torch.autograd.gradcheck(run, (x.features.requires_grad_(), layer.weight))


def test_tables_are_shared_and_die_with_their_sites() -> None:
    x = random_tensor(3)
    first, second = SubmanifoldConv(5, 5, 3).double(), SubmanifoldConv(5, 5, 3).double()
    second(first(x))
    assert len(x.sites.tables) == 1
    SubmanifoldConv(5, 5, 5).double()(x)
    assert len(x.sites.tables) == 2


@pytest.mark.parametrize("rows", [0, 1])
def test_empty_and_single_voxel(rows: int) -> None:
    coordinates = torch.tensor([[1, 3, 4, 5]])[:rows]
    x = SparseTensor.of(torch.ones(rows, 2), coordinates, (7, 9, 11), 2)
    down, same = SparseConv(2, 3, 3, 2, 1), SubmanifoldConv(3, 3, 3, bias=True)
    output = same(down(x))
    assert output.dense().shape == (2, 3, 4, 5, 6)
    assert len(output) == (4 if rows else 0)  # odd cells at stride 2 reach two outputs on an axis, even ones one
    up = InverseConv(3, 2, 3)(output, down, x.sites) if rows == 0 else InverseConv(3, 2, 3)(down(x), down, x.sites)
    assert len(up) == rows


def test_threads_do_not_change_the_result() -> None:
    x = random_tensor(3, channels=16, rows=600)
    layer = SubmanifoldConv(16, 16, 3)
    single = x.with_features(x.features.float())
    threads = torch.get_num_threads()
    answers = []
    for count in (1, 2, 4):
        torch.set_num_threads(count)
        answers.append(layer(single).features)
    torch.set_num_threads(threads)
    assert all(torch.equal(answers[0], other) for other in answers[1:])


def test_wrong_width_is_an_error() -> None:
    with pytest.raises(PerceptionError, match="5 channels"):
        SubmanifoldConv(6, 4, 3).double()(random_tensor(3))
