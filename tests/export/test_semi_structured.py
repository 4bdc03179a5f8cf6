"""Which layers torch's semi-structured tensors take, and the refusal without a GPU; the kernels need one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from perception.errors import PerceptionError
from perception.export.semi_structured import fitting_layers, to_semi_structured
from perception.training.sparsity import two_of_four


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    found = nn.Sequential(
        nn.Linear(64, 32),
        nn.Conv2d(64, 32, 1),
        nn.Conv2d(64, 32, 3),
        nn.Linear(64, 30),
        nn.Linear(60, 32),
        nn.Linear(64, 32),
    )
    with torch.no_grad():
        for layer in list(found)[:-1]:
            layer.weight.mul_(two_of_four(layer.weight))  # type: ignore[operator, arg-type]
    return found


def test_sparse_layers_of_the_kernels_shapes_fit() -> None:
    assert fitting_layers(layers()) == ["0", "1"]


def test_a_cpu_is_refused() -> None:
    with pytest.raises(PerceptionError, match="CUDA GPU"):
        to_semi_structured(layers())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the kernels need a CUDA GPU")
def test_a_gpu_answers_as_the_dense_layers() -> None:
    rows, plane = torch.randn(128, 64, device="cuda"), torch.randn(2, 64, 16, 16, device="cuda")
    dense = layers().cuda()
    with torch.inference_mode():
        wanted = dense[0](rows), dense[1](plane)
        sparse: nn.Sequential = to_semi_structured(dense)  # type: ignore[assignment]
        for found, exact in zip((sparse[0](rows), sparse[1](plane)), wanted):
            torch.testing.assert_close(found, exact, atol=1e-2, rtol=1e-2)
