"""A million voxels: memory, and products whose gathered matrices would have more than 2^31 numbers."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from perception.sparse.engines import cpu
from perception.sparse.neighbours import submanifold_table
from perception.sparse.sites import Sites

CODE = """
import resource, sys, torch
from perception.backbones.sparse_encoder import SparseEncoder
from perception.backbones.sparse_unet import SparseUNet
from perception.sparse import SparseTensor
torch.manual_seed(0)
rows, shape = 1_000_000, (100, 1500, 1500)
surface = torch.randint(0, 1500 * 1500, (rows * 5 // 4,)).unique()[:rows // 2]
y, x = surface // 1500, surface % 1500
z = (40 + 15 * torch.sin(x / 90) + 10 * torch.cos(y / 70)).long()
coordinates = torch.cat([torch.stack([torch.zeros_like(z), z + up, y, x], 1) for up in (0, 1)])
voxels = SparseTensor.of(torch.randn(len(coordinates), 4), coordinates, shape, 1)
model = {"encoder": SparseEncoder, "unet": SparseUNet}[sys.argv[1]](4)
if sys.argv[2] == "use":
    with torch.inference_mode():
        output = model.eval()(voxels)
else:
    output = model(voxels)
    output.features.sum().backward()
print(len(voxels), len(output), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["encoder", "unet"])
@pytest.mark.parametrize("purpose", ["use", "training"])
def test_a_million_voxels_fit_in_six_gigabytes(kind: str, purpose: str) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, kind, purpose], capture_output=True, text=True, check=True)
    inputs, outputs, peak = map(int, done.stdout.split())
    assert inputs == 1_000_000
    assert outputs > 1000
    assert peak < 6e9, f"{peak / 1e9:.2f} GB"


@pytest.mark.slow
def test_more_than_two_billion_gathered_numbers() -> None:
    """27 taps of 1.3 million rows of 64 channels; a dense block of cells, so that most taps have a pair."""
    side, channels = 110, 64
    coordinates = torch.cat([torch.zeros(side**3, 1), torch.cartesian_prod(*[torch.arange(side)] * 3)], 1)
    sites = Sites.of(coordinates, (side,) * 3, 1)
    assert 27 * len(sites) * channels > 2**31
    table = submanifold_table(sites, (3, 3, 3), (1, 1, 1))
    features, weight = torch.randn(len(sites), channels), torch.randn(8, 27, channels) / 40
    output = cpu.convolve(features, weight, table)
    chosen = [*torch.randint(0, len(sites), (50,)).tolist(), 0, len(sites) - 1]
    for row in chosen:
        taps = (table.rows[:, row] >= 0).nonzero()[:, 0]
        wanted = torch.einsum("ki,oki->o", features[table.rows[taps, row].long()], weight[:, taps])
        torch.testing.assert_close(output[row], wanted, rtol=1e-3, atol=1e-4)
