"""2:4 sparse weights as torch's semi-structured tensors, for Linear layers and 1x1 convolutions on a CUDA GPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perception.errors import PerceptionError
from perception.training.sparsity import is_two_of_four

# What torch's kernels for 16 bits take: multiples of this many outputs and inputs.
OUTPUTS, INPUTS = 32, 64


class SemiStructured(nn.Module):
    """A Linear layer or a 1x1 convolution in half precision; float32 goes in and comes out."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.planar = isinstance(layer, nn.Conv2d)
        self.weight = nn.Parameter(
            torch.sparse.to_sparse_semi_structured(layer.weight.detach().flatten(1).half().contiguous()),
            requires_grad=False,
        )
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().half(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.movedim(1, -1) if self.planar else x
        found = nn.functional.linear(rows.half(), self.weight, self.bias).to(x.dtype)
        return found.movedim(-1, 1) if self.planar else found


def fitting_layers(model: nn.Module) -> list[str]:
    """Names of the layers whose weights are 2:4 sparse and of a shape that the kernels take."""
    return [name for name, module in model.named_modules() if _fits(module)]


def to_semi_structured(model: nn.Module) -> nn.Module:
    """Convert all fitting layers, in place. PerceptionError on a CPU, on an older GPU, and where no layer fits."""
    device = next(model.parameters()).device
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0):
        raise PerceptionError(
            f"semi-structured weights on {device}",
            "a CUDA GPU of compute capability 8.0 or higher",
            "leave the switch out: sparse weights run as dense ones anywhere",
        )
    names = fitting_layers(model)
    if not names:
        raise PerceptionError(
            "no Linear layer or 1x1 convolution with 2:4 sparse weights",
            f"multiples of {OUTPUTS} outputs and {INPUTS} inputs, two of each four inputs zero",
            "train with training.two_of_four",
        )
    for name in names:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, SemiStructured(model.get_submodule(name)))  # type: ignore[arg-type]
    return model


def _fits(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        plain = module.kernel_size == (1, 1) and module.stride == (1, 1) and module.groups == 1
        if not plain or module.padding not in ((0, 0), "valid"):
            return False
    elif not isinstance(module, nn.Linear):
        return False
    outputs, inputs = module.weight.shape[:2]
    return outputs % OUTPUTS == 0 and inputs % INPUTS == 0 and is_two_of_four(module.weight.detach())
