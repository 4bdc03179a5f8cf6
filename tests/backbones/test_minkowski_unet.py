"""The U-Net's layers against dense convolutions with kernels in MinkowskiEngine's layout."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from perception.backbones.minkowski_unet import MinkowskiUNet, ResidualBlock, UpModule
from perception.backbones.preactivated_unet import PreactivatedUNet
from perception.io.importers.segmentanytree.keys import pointwise_kernel, sparse_kernel
from perception.sparse import InverseConv, SparseConv, SparseTensor, SubmanifoldConv

SHAPE = (8, 8, 8)


def occupied(channels: int, share: float = 0.3, seed: int = 0) -> SparseTensor:
    generator = torch.Generator().manual_seed(seed)
    cells = (torch.rand((2, *SHAPE), generator=generator) < share).nonzero()
    features = torch.randn(len(cells), channels, generator=generator)
    return SparseTensor.of(features, cells, SHAPE, 2)


def dense_kernel(kernel: Tensor) -> Tensor:
    """As the layout says: taps with x fastest; for a grid z y x (out, in, z, y, x)."""
    return kernel.reshape(3, 3, 3, *kernel.shape[1:]).permute(4, 3, 0, 1, 2)


def at(x: SparseTensor, grid: Tensor) -> Tensor:
    b, z, y, xs = x.coordinates.long().unbind(1)
    return grid[b, :, z, y, xs]


def test_stride_one_forward_and_mirrored() -> None:
    x, kernel = occupied(4), torch.randn(27, 4, 6)
    for mirrored in (False, True):
        layer = SubmanifoldConv(4, 6, 3, mirrored=mirrored)
        layer.weight.data = sparse_kernel(kernel)
        weight = dense_kernel(kernel.flip(0) if mirrored else kernel)
        torch.testing.assert_close(
            layer(x).features, at(x, F.conv3d(x.dense(), weight, padding=1)), atol=1e-4, rtol=1e-4
        )
    transposed = F.conv_transpose3d(x.dense(), dense_kernel(kernel).transpose(0, 1), padding=1)
    torch.testing.assert_close(layer(x).features, at(x, transposed), atol=1e-4, rtol=1e-4)


def test_down_to_halved_cells_and_back_to_the_encoders_sites() -> None:
    x, kernel, back = occupied(4), torch.randn(27, 4, 6), torch.randn(27, 6, 5)
    down, up = SparseConv(4, 6, 3, 2, dialect="minkowski"), InverseConv(6, 5, 3)
    down.weight.data, up.weight.data = sparse_kernel(kernel), sparse_kernel(back)
    coarse = down(x)
    halves = x.coordinates.clone()
    halves[:, 1:] //= 2
    assert torch.equal(coarse.coordinates, halves.unique(dim=0))
    dense = F.conv3d(x.dense(), dense_kernel(kernel), stride=2, padding=1)
    torch.testing.assert_close(coarse.features, at(coarse, dense), atol=1e-4, rtol=1e-4)
    wanted = F.conv_transpose3d(
        coarse.dense(), dense_kernel(back).transpose(0, 1), stride=2, padding=1, output_padding=1
    )
    raised = up(coarse, down, x.sites)
    assert raised.sites is x.sites
    torch.testing.assert_close(raised.features, at(x, wanted), atol=1e-4, rtol=1e-4)


def test_relu_comes_before_the_sum() -> None:
    block = ResidualBlock(3, 3, mirrored=False).eval()
    x = occupied(3)
    with torch.no_grad():
        added = block(x).features - x.features
    assert (added >= 0).all()
    assert (block(x).features < 0).any()
    torch.testing.assert_close(pointwise_kernel(torch.eye(2)[:, :1] * 3), torch.tensor([[3.0, 0.0]]))


def test_every_row_keeps_its_site_and_skips_come_second() -> None:
    net = MinkowskiUNet(4, ((1, 5), (2, 6), (2, 7)), ((2, 8), (2, 9), (1, 10))).eval()
    x = occupied(4)
    found = net(x)
    assert found.sites is x.sites
    assert found.channels == net.channels == 10
    first, second, third = net.ups
    assert isinstance(second, UpModule)
    widths = [up.enter.conv.weight.shape[-1] for up in (first, second, third)]  # type: ignore[union-attr]
    assert widths == [7, 8 + 6, 9 + 5]


def test_no_voxels_and_one() -> None:
    for net in (MinkowskiUNet(4, ((1, 5), (2, 6)), ((2, 6), (1, 3))), PreactivatedUNet([4, 6, 8])):
        for cells in (torch.zeros(0, 4, dtype=torch.int64), torch.tensor([[1, 2, 3, 4]])):
            x = SparseTensor.of(torch.randn(len(cells), 4), cells, SHAPE, 2)
            for mode in (True, False):
                assert len(net.train(mode)(x).features) == len(cells)


def test_folded_normalisation_changes_nothing() -> None:
    net, x = MinkowskiUNet(4, ((1, 5), (2, 6)), ((2, 6), (1, 3))).eval(), occupied(4)
    with torch.no_grad():
        folded = net(x).features
    torch.testing.assert_close(folded, net(x).features, atol=1e-5, rtol=1e-4)
