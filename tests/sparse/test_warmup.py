"""After a warm-up nothing is left to compile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from perception.backbones.sparse_encoder import SparseEncoder
from perception.backbones.sparse_unet import SparseUNet
from perception.sparse import SparseTensor, pairs, table_kernels, voxelise_kernels, warmup
from perception.sparse.engines import cpu_depthwise, cpu_kernels

MODULES = (cpu_kernels, cpu_depthwise, pairs, table_kernels, voxelise_kernels)


def compiled() -> int:
    """Signatures that numba holds code for."""
    found = [value for module in MODULES for value in vars(module).values()]
    return sum(len(kernel.signatures) for kernel in found if hasattr(kernel, "signatures"))


@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_left_to_compile(training: bool) -> None:
    assert warmup(training=training) > 0
    before = compiled()
    assert before > 10
    coordinates = torch.cat([torch.zeros(300, 1), torch.randint(0, 30, (300, 3))], 1).unique(dim=0)
    x = SparseTensor.of(torch.randn(len(coordinates), 4), coordinates, (33, 30, 30), 1)
    for model in (SparseEncoder(4), SparseUNet(4)):
        with torch.set_grad_enabled(training):
            output = model.train(training)(x).features.sum()
            if training:
                output.backward()
    assert compiled() == before


def test_the_next_process_compiles_nothing(tmp_path: Path) -> None:
    """Every kernel comes from the cache; one that could not be found again would be compiled in every process."""
    code = "import perception.sparse as s; s.warmup(training=True)\n"
    code += f"import importlib\nmodules = [importlib.import_module(name) for name in {[m.__name__ for m in MODULES]}]\n"
    code += "kernels = [k for m in modules for k in vars(m).values() if hasattr(k, 'stats')]\n"
    code += "print(sum(sum(k.stats.cache_misses.values()) for k in kernels))\n"
    code += "print(sum(sum(k.stats.cache_hits.values()) for k in kernels))"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    runs = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        runs.append([int(number) for number in done.stdout.split()])
    (missed, hit), (missed_again, hit_again) = runs
    assert (hit, missed_again) == (0, 0)
    assert missed >= hit_again > 10  # what was compiled into its callers is not looked up
