"""Products by oneDNN against torch's own, and where they must step aside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from perception import dense
from perception.sparse import BatchNorm


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "_WORTH_IT", 0)
    monkeypatch.setattr(dense, "_PIECES", (256, 32, 2))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(700, 96), (3, 50, 96), (1, 96), (0, 96), (2, 0, 96)])
def test_linear_is_torchs(shape: tuple[int, ...], bias: bool) -> None:
    layer = dense.Linear(96, 40, bias=bias)
    x = torch.randn(shape)
    with torch.inference_mode():
        found = layer(x)
    torch.testing.assert_close(found, F.linear(x, layer.weight, layer.bias), atol=1e-5, rtol=1e-5)


def test_memory_does_not_grow_with_the_shapes_met() -> None:
    program = """import torch
from perception.dense import linear
def held():
    return int(open("/proc/self/statm").read().split()[1]) * 4 // 1024
rows, weight = torch.randn(4000, 256), torch.randn(256, 256)
with torch.inference_mode():
    for number in range(600, 700):
        linear(rows[:number], weight)
    before = held()
    for number in range(700, 1300):
        linear(rows[:number], weight)
print(held() - before)"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 100, "some 450 MB where every shape is a kernel of its own"


def test_rows_and_weights_may_be_strided() -> None:
    x, weight = torch.randn(64, 300).t(), torch.randn(96, 64)[8:72]
    with torch.inference_mode():
        torch.testing.assert_close(dense.linear(x, weight), F.linear(x, weight), atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(dense.linear(x[::3], weight[:, :]), F.linear(x[::3], weight), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("bias", [True, False])
def test_convolutions_of_one_cell_are_torchs(layout: torch.memory_format, bias: bool) -> None:
    conv = nn.Conv2d(32, 24, 1, bias=bias)
    x = torch.randn(2, 32, 17, 9).contiguous(memory_format=layout)
    with torch.inference_mode():
        found = dense.pointwise(x, conv.weight, conv.bias)
    assert found.is_contiguous(memory_format=layout)
    torch.testing.assert_close(found, conv(x), atol=1e-5, rtol=1e-5)


def randomise(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_layers_in_one_pass_are_torchs(layout: torch.memory_format) -> None:
    made = [
        *(nn.Conv2d(16, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.ReLU()),
        *(nn.Conv2d(24, 32, 1, bias=False), nn.BatchNorm2d(32)),
        *(nn.ConvTranspose2d(32, 20, 2, 2, bias=False), nn.BatchNorm2d(20, affine=False), nn.ReLU()),
        *(nn.ConvTranspose2d(20, 8, 1), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Conv2d(8, 5, 3, padding=1),
    ]
    randomise(nn.ModuleList(made))
    layers, plain = dense.Layers(*made), nn.Sequential(*made)
    x = torch.randn(2, 16, 14, 10).contiguous(memory_format=layout)
    with torch.no_grad():
        torch.testing.assert_close(layers.eval()(x), plain.eval()(x), atol=1e-4, rtol=1e-4)
        for module in made:  # in training statistics are the batch's and are kept
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.0
        torch.testing.assert_close(layers.train()(x), plain.train()(x))
    assert list(layers.state_dict()) == list(plain.state_dict())
    assert torch.equal(layers.eval()(x.requires_grad_()), plain(x))


@pytest.mark.parametrize("shape", [(300, 20), (40, 6, 20), (1, 20), (0, 20), (0, 5, 20)])
@pytest.mark.parametrize("bias", [True, False])
def test_products_and_norms_in_one_pass_are_torchs(shape: tuple[int, ...], bias: bool) -> None:
    layer, norm = dense.Linear(20, 12, bias=bias), BatchNorm(12).eval()
    randomise(norm)
    x = torch.randn(shape)
    wanted = norm(layer(x).flatten(0, -2)).view(*shape[:-1], 12)
    with torch.inference_mode():
        for rectify in (True, False):
            found = dense.linear_norm(x, layer, norm, rectify)
            torch.testing.assert_close(found, wanted.relu() if rectify else wanted, atol=1e-5, rtol=1e-5)
        if x.ndim == 2:
            layers = dense.Layers(layer, norm, nn.ReLU(), nn.Dropout(0.5), dense.Linear(12, 3)).eval()
            torch.testing.assert_close(layers(x), layers[4](wanted.relu()), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(dense.linear_norm(x, layer, norm), wanted.relu())


@pytest.mark.parametrize("rectify", [True, False])
def test_a_sum_on_the_way(rectify: bool) -> None:
    conv, norm = nn.Conv2d(12, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16).eval()
    randomise(norm)
    x, plus = (torch.randn(2, c, 9, 7).contiguous(memory_format=torch.channels_last) for c in (12, 16))
    before = plus.clone()
    with torch.inference_mode():
        wanted = norm(conv(x)) + plus
        found = dense.conv_norm(x, conv, norm, rectify, plus)
    torch.testing.assert_close(found, wanted.relu() if rectify else wanted, atol=1e-4, rtol=1e-4)
    assert torch.equal(plus, before)


def test_gradients_half_precision_and_compilers_get_torchs_own() -> None:
    layer = dense.Linear(16, 8)
    x = torch.randn(30, 16, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is not None
    with torch.no_grad():
        assert layer.to(torch.bfloat16)(x.to(torch.bfloat16)).dtype == torch.bfloat16
        assert layer.double()(x.double()).dtype == torch.float64
        with torch.autocast("cpu", torch.bfloat16):
            assert layer.float()(x).dtype == torch.bfloat16
    program = torch.export.export(layer.eval(), (torch.randn(30, 16),))
    assert "mkldnn" not in str(program.graph)


@pytest.mark.parametrize("lacking", ["vectors", "operator", "sense"])
def test_without_vectors_or_operator_torch_does_it(lacking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if lacking == "vectors":
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    else:
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
        changed = None if lacking == "operator" else lambda *_: torch.zeros(8, 4)
        monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", changed)
    dense._works.cache_clear()
    try:
        with torch.inference_mode():
            assert not dense._fast(torch.ones(4, 4), torch.ones(4, 4))
            torch.testing.assert_close(dense.linear(torch.ones(64, 4), torch.ones(3, 4)), torch.full((64, 3), 4.0))
    finally:
        dense._works.cache_clear()


def test_who_listens_hears() -> None:
    conv, norm = nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)
    layers = dense.Layers(conv, norm, nn.ReLU()).eval()
    x = torch.randn(1, 4, 8, 8).contiguous(memory_format=torch.channels_last)
    heard: list[nn.Module] = []
    for part in (conv, norm):
        handle = part.register_forward_hook(lambda layer, given, answer: heard.append(layer))
        with torch.inference_mode():
            layers(x)
        handle.remove()
    assert heard == [conv, norm]


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage/enabled").exists(), reason="no large pages here")
@pytest.mark.parametrize("order", ["import perception, torch", "import torch, perception"])
def test_large_tensors_get_large_pages(order: str) -> None:
    if "[never]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text():
        pytest.skip("this machine has large pages turned off")
    program = f"""{order}, resource
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
torch.zeros(64 << 20)
print(faults() - before)"""
    environment = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert int(found.stdout) < 20_000, "256 MB at 4 kB a page are 65,536 faults"
