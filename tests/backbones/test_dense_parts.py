"""The dynamic voxel encoder against a loop over voxels, and the residual map backbone's shapes and shortcuts."""

from __future__ import annotations

import pytest
import torch

from perception.backbones.bev_residual import BEVResBackbone, ResidualBlock2D
from perception.backbones.dynamic_encoder import DynamicVoxelEncoder
from perception.errors import PerceptionError
from perception.points import PointBatch
from perception.sparse import VoxelGrid, dynamic_voxelise

GRID = VoxelGrid((0.0, -2.0, -1.0, 4.0, 2.0, 3.0), (0.5, 0.5, 1.0))


def test_the_dynamic_encoder_is_two_point_networks_with_maxima() -> None:
    points = torch.rand(200, 5) * torch.tensor([4, 4, 4, 1, 1.0]) + torch.tensor([0, -2, -1, 0, 0.0])
    voxels = dynamic_voxelise(PointBatch(points, torch.arange(200) // 100, 2), GRID)
    encoder = DynamicVoxelEncoder(5, (8, 6), GRID).eval()
    for layer in encoder.layers:
        torch.nn.init.normal_(layer.norm.running_mean, 0, 0.3)
    found = encoder(voxels)
    first, second = encoder.layers
    for row, cell in enumerate(voxels.coordinates):
        own = voxels.points[voxels.voxel == row]
        centre = torch.tensor(GRID.point_range[:3]) + (cell[[3, 2, 1]] + 0.5) * torch.tensor(GRID.voxel_size)
        inputs = torch.cat([own, own[:, :3] - own[:, :3].mean(0), own[:, :3] - centre], 1)
        hidden = first.norm(first.linear(inputs)).relu()
        hidden = torch.cat([hidden, hidden.max(0).values.expand_as(hidden)], 1)
        wanted = second.norm(second.linear(hidden)).relu().max(0).values
        torch.testing.assert_close(found[row], wanted, atol=1e-5, rtol=1e-5)


def test_levels_come_back_to_one_resolution() -> None:
    net = BEVResBackbone(6, (1, 2, 2), (1, 2, 2), (8, 8, 16), (0.5, 1, 2), (8, 8, 8)).eval()
    assert net(torch.randn(2, 6, 20, 28)).shape == (2, 24, 10, 14)
    assert net.channels == 24
    same = BEVResBackbone(6, (1, 2, 2), (1, 2, 2), (8, 8, 16), (1, 2, 4), (8, 8, 8)).eval()
    assert same(torch.randn(1, 6, 20, 28)).shape == (1, 24, 20, 28)


def test_a_level_begins_with_a_shortcut_even_at_stride_one() -> None:
    net = BEVResBackbone(8, (1,), (1,), (8,), (1,), (8,))
    first, second = net.blocks[0]
    assert first.shortcut is not None
    assert second.shortcut is None


def test_a_residual_block_adds_its_input() -> None:
    block, x = ResidualBlock2D(4, 4).eval(), torch.randn(1, 4, 5, 5)
    torch.nn.init.zeros_(block.conv2.weight)
    torch.testing.assert_close(block(x), x.relu())


def test_an_odd_fraction_is_refused() -> None:
    with pytest.raises(PerceptionError, match="up stride"):
        BEVResBackbone(8, (1,), (1,), (8,), (0.4,), (8,))
