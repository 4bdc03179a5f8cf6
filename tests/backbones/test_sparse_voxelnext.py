"""VoxelNeXt's backbone: levels merged on the ground, in three dimensions and in two."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from perception.backbones.placed_pillars import PlacedPillarEncoder
from perception.backbones.sparse_voxelnext import SparseVoxelNeXt, merge_on_ground
from perception.backbones.stacked_pillars import StackedPillarEncoder
from perception.points import PointBatch
from perception.sparse import SparseTensor, VoxelGrid, dynamic_voxelise, hard_voxelise


def level(shape: tuple[int, ...], share: float, batch: int = 2) -> SparseTensor:
    cells = (torch.rand(batch, *shape) < share).nonzero()
    return SparseTensor.of(torch.randn(len(cells), 4), cells, shape, batch)


@pytest.mark.parametrize("planar", [False, True])
def test_levels_are_summed_over_height_at_the_scale_of_the_finest(planar: bool) -> None:
    shapes = [(13, 9), (7, 5), (4, 3)] if planar else [(5, 13, 9), (3, 7, 5), (2, 4, 3)]
    levels = [level(shape, 0.3) for shape in shapes]
    wanted, touched = torch.zeros(2, 4, 13, 9), torch.zeros(2, 13, 9, dtype=torch.bool)
    for number, tensor in enumerate(levels):
        dense: Tensor = tensor.dense() if planar else tensor.dense().sum(2)
        wanted[:, :, :: 2**number, :: 2**number] += dense
        batch, *_, y, x = tensor.coordinates.long().unbind(1)
        touched[batch, y * 2**number, x * 2**number] = True
    merged = merge_on_ground(levels)
    torch.testing.assert_close(merged.dense(), wanted)
    assert torch.equal(merged.coordinates.long(), touched.nonzero())


@pytest.mark.parametrize("dimension", [2, 3])
def test_any_number_of_voxels_goes_through(dimension: int) -> None:
    torch.manual_seed(1)
    backbone = SparseVoxelNeXt(5, 8, (4, 4, 8, 8, 8, 8), blocks=(1,) * 6, dimension=dimension).eval()
    shape = (41, 48, 40)[-dimension:]
    inputs = 5 if dimension == 3 else 4
    for count in (0, 1, 50):
        cells = torch.unique(torch.randint(0, 40, (count, dimension)), dim=0)
        cells = torch.cat([torch.ones(len(cells), 1, dtype=torch.int64), cells], 1)
        with torch.no_grad():
            out = backbone(SparseTensor.of(torch.randn(len(cells), inputs), cells, shape, 3))
        assert out.sites.spatial_shape == (6, 5)
        assert out.channels == 8
        assert (len(out) > 0) == (count > 0)
        assert torch.isfinite(out.features).all()


GRID = VoxelGrid((0.0, -4.0, -2.0, 8.0, 4.0, 4.0), (1.0, 1.0, 6.0))


def points(count: int = 40) -> PointBatch:
    values = torch.rand(count, 5) * torch.tensor([8.0, 8.0, 6.0, 1.0, 1.0]) + torch.tensor([0.0, -4.0, -2.0, 0.0, 0.0])
    return PointBatch(values, torch.zeros(count, dtype=torch.int64), 1)


def test_placed_pillars_see_their_points_from_the_centre() -> None:
    encoder = PlacedPillarEncoder(5, 6, GRID).eval()
    voxels = dynamic_voxelise(points(), GRID)
    with torch.no_grad():
        found = encoder(voxels)
        layer = encoder.layers[0]
        for row, (_, _, y, x) in enumerate(voxels.coordinates.tolist()):
            own = voxels.points[voxels.voxel == row]
            centre = torch.tensor([x + 0.5, y - 3.5, 1.0])
            values = layer.norm(layer.linear(torch.cat([own[:, :3] - centre, own], 1))).relu()
            torch.testing.assert_close(found[row], values.amax(0))


def test_stacked_pillars_pass_the_maximum_on_with_empty_slots_in_it() -> None:
    encoder = StackedPillarEncoder(5, (8, 6), GRID).eval()
    voxels = hard_voxelise(points(60), GRID, 4, 100)
    with torch.no_grad():
        found = encoder(voxels)
        for row, (_, _, y, x) in enumerate(voxels.coordinates.tolist()):
            count = int(voxels.counts[row])
            own = voxels.points[row, :count]
            mean, centre = own[:, :3].mean(0), torch.tensor([x + 0.5, y - 3.5, 1.0])
            values = torch.cat([own, own[:, :3] - mean, own[:, :3] - centre], 1)
            values = torch.cat([values, torch.zeros(4 - count, 11)])
            for layer in encoder.layers:
                values = layer.norm(layer.linear(values)).relu()
                highest = values.amax(0)
                values = torch.cat([values, highest.expand_as(values)], 1)
            torch.testing.assert_close(found[row], highest, atol=1e-5, rtol=1e-4)
