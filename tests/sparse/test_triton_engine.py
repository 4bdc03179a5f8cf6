"""The engines that are for GPUs: Triton in its interpreter and on a GPU where there is one, and the adapters."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sites import random_tensor

from perception.errors import PerceptionError
from perception.sparse import SparseConv, SubmanifoldConv
from perception.sparse.engines import SETTING, choose, reference, spconv, spconv_triton, triton
from perception.sparse.neighbours import strided_table

HERE = Path(__file__).parent
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is for Linux only")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")


def run_cases(name: str, folder: Path, interpreted: bool) -> None:
    """All tests of one file in a process of its own, where Triton is imported afresh."""
    environment = {key: value for key, value in os.environ.items() if key not in ("TRITON_INTERPRET", SETTING)}
    environment["TRITON_CACHE_DIR"] = str(folder)
    if interpreted:
        environment["TRITON_INTERPRET"] = "1"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(HERE / name)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@needs_triton
def test_triton_in_its_interpreter(tmp_path: Path) -> None:
    run_cases("triton_cases.py", tmp_path, interpreted=True)


@needs_triton
@needs_gpu
def test_triton_on_the_gpu(tmp_path: Path) -> None:
    run_cases("triton_cases.py", tmp_path, interpreted=False)


@needs_triton
def test_triton_compiles_for_gpus(tmp_path: Path) -> None:
    run_cases("triton_targets.py", tmp_path, interpreted=False)


def test_perception_needs_no_triton() -> None:
    """Where it is missing, everything imports, and the engine says what to install."""
    program = """
import sys
for name in ("triton", "spconv", "spconv_triton"):
    sys.modules[name] = None
import perception.sparse
from perception.errors import PerceptionError
from perception.sparse.engines import triton
try:
    triton.kernels()
except PerceptionError as error:
    assert "pip install triton" in str(error), error
else:
    raise AssertionError("no error")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@needs_triton
def test_triton_is_refused_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "triton")
    monkeypatch.setattr(triton, "interpreted", lambda: False)
    with pytest.raises(PerceptionError, match="TRITON_INTERPRET"):
        SubmanifoldConv(4, 4, 3)(random_tensor((6, 9, 8), 30, 4))


@pytest.mark.parametrize("engine", ["spconv", "spconv-triton"])
def test_adapters_are_refused_on_the_cpu(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, engine)
    with pytest.raises(PerceptionError, match=f"'{engine}'"):
        SparseConv(4, 4, 3, 2, 1)(random_tensor((6, 9, 8), 30, 4))


def test_adapters_name_what_is_missing() -> None:
    with pytest.raises(PerceptionError, match="pip install spconv-triton"):
        spconv.package("no_such_package", "spconv-triton")
    assert spconv_triton.DTYPES


@needs_gpu
def test_the_reference_is_chosen_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    assert choose(torch.zeros(1, 1, device="cuda")) == "reference"


def test_pair_lists_of_spconv() -> None:
    """Adding up along them tap by tap is the convolution; the rest of each list is -1."""
    x = random_tensor((6, 9, 8), 60, 3)
    table = strided_table(x.sites, (3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1))
    pairs, counts = spconv.indice_pairs(table)
    assert spconv.indice_pairs(table)[0] is pairs
    assert pairs.dtype == counts.dtype == torch.int32
    weight, output = torch.randn(5, 27, 3), torch.zeros(table.outputs, 5)
    for tap, count in enumerate(counts.tolist()):
        inputs, outputs = pairs[:, tap, :count].long()
        output.index_add_(0, outputs, x.features[inputs] @ weight[:, tap].T)
        assert bool((pairs[:, tap, count:] == -1).all())
    torch.testing.assert_close(output, reference.convolve(x.features, weight, table))
