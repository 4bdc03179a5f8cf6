"""Occupied slices of height against a loop over points."""

from __future__ import annotations

import math

import torch

from perception.backbones.voxel_encoders import HeightSlices
from perception.points import PointBatch
from perception.sparse import VoxelGrid, dynamic_voxelise

GRID = VoxelGrid((-4.0, -3.0, -2.0, 4.0, 3.0, 1.0), (0.5, 0.5, 3.0))
SLICES = 6


def test_slices_equal_a_loop() -> None:
    xyz = torch.rand(400, 3) * torch.tensor([8.0, 6.0, 3.6]) - torch.tensor([4.0, 3.0, 2.3])
    xyz[:2] = torch.tensor([[0.1, 0.1, -2.0], [0.1, 0.1, 0.99999]])  # the lowest point of the grid and the highest
    sample = torch.arange(400) % 3 // 2 * 2  # nothing in sample 1
    sample = sample.sort().values
    voxels = dynamic_voxelise(PointBatch(xyz, sample, 3), GRID)
    found = HeightSlices(SLICES, GRID)(voxels)
    assert found.shape == (len(voxels.coordinates), SLICES + 1)
    for row, (batch, _, y, x) in enumerate(voxels.coordinates.tolist()):
        inside = [
            point
            for point, number in zip(xyz.tolist(), sample.tolist())
            if number == batch
            and math.floor((point[0] + 4) / 0.5) == x
            and math.floor((point[1] + 3) / 0.5) == y
            and -2 <= point[2] < 1
        ]
        held = {math.floor((point[2] + 2) / 0.5) for point in inside}
        wanted = [*(float(place in held) for place in range(SLICES)), math.log1p(len(inside))]
        torch.testing.assert_close(found[row], torch.tensor(wanted))


def test_an_empty_cloud_has_no_pillars() -> None:
    voxels = dynamic_voxelise(PointBatch(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), 1), GRID)
    assert HeightSlices(SLICES, GRID)(voxels).shape == (0, SLICES + 1)
