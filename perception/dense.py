"""Dense products and convolutions, with oneDNN's kernels where torch's own choice is slower.

For matrices torch calls the BLAS that it was built with, on x86 mostly MKL, which leaves half of an AMD core's AVX-512
unused: on Zen 5 it reaches 110 GFLOP/s where oneDNN, which torch carries for convolutions, reaches 250. On large maps
normalisation, sum and ReLU after a convolution cost as much as a third of it, since each goes through memory again;
oneDNN does them on the way. Layers here are torch's, with the same parameters and names; in use, without gradients,
they ask oneDNN.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Below so many multiplications, or rows, oneDNN's way to its kernel takes longer than the product.
_WORTH_IT = 2_000_000
# oneDNN keeps a kernel, and memory of the size of its operands, for every shape it meets, and rows of points change
# from cloud to cloud: gigabytes after some thousand clouds. In pieces of these rows there are four shapes a layer.
_PIECES = (4096, 1024, 256, 64)
# Stride, dilation and groups of a plain convolution.
_ONE_STEP = ([1, 1], [1, 1], 1)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``: x (..., C_in), weight (C_out, C_in), bias (C_out,) -> (..., C_out)."""
    if not _fast(x, weight) or _few(x, weight):
        return F.linear(x, weight, bias)
    return _in_pieces(x, weight, bias, False)


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.conv2d`` with a kernel of 1x1: x (B, C_in, H, W), weight (C_out, C_in, 1, 1) -> (B, C_out, H, W).

    Fast for maps that lie channels-last in memory, where torch alone takes a product of matrices for it.
    """
    if not _fast(x, weight) or not x.is_contiguous(memory_format=torch.channels_last):
        return F.conv2d(x, weight, bias)
    answer: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, [0, 0], *_ONE_STEP, "none", [], "")
    return answer


class Linear(nn.Linear):
    """``nn.Linear`` by ``linear``."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


class Layers(nn.Sequential):
    """``nn.Sequential`` in which a convolution or product, its batch norm and its ReLU are one pass in use."""

    def forward(self, input: Tensor) -> Tensor:
        layers, place = list(self), 0
        while place < len(layers):
            conv, norm, relu = layers[place], *(*layers[place + 1 : place + 3], None, None)[:2]
            rectify = isinstance(relu, nn.ReLU)
            if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d):
                input = conv_norm(input, conv, norm, rectify)
                place += 2 + rectify
            elif isinstance(conv, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
                input = linear_norm(input, conv, norm, rectify)
                place += 2 + rectify
            else:
                input = conv(input)
                place += 1
        return input


def linear_norm(x: Tensor, layer: nn.Linear, norm: nn.Module, rectify: bool = True) -> Tensor:
    """``norm(layer(x))`` of rows (..., C_in), then ReLU if ``rectify``."""
    known = isinstance(norm, nn.BatchNorm1d) and _known(norm) and not _heard(layer)
    if not known or not _fast(x, layer.weight) or _few(x, layer.weight):
        y = layer(x)
        y = norm(y.flatten(0, -2)).view_as(y)
        return y.relu() if rectify else y
    assert isinstance(norm, nn.BatchNorm1d)
    scale, shift = _scale_and_shift(norm, layer.bias)
    return _in_pieces(x, layer.weight * scale[:, None], shift, rectify)


def conv_norm(
    x: Tensor,
    conv: nn.Conv2d | nn.ConvTranspose2d,
    norm: nn.Module,
    rectify: bool = True,
    plus: Tensor | None = None,
) -> Tensor:
    """``norm(conv(x)) + plus``, then ReLU if ``rectify``; ``plus`` has the shape of the result."""
    # Exports put identities in the place of norms.
    fusable = isinstance(norm, nn.BatchNorm2d) and _fusable(x, conv, norm)
    if not fusable or (plus is not None and not _beside(plus, conv)):
        y = norm(conv(x))
        y = y if plus is None else y + plus
        return y.relu() if rectify else y
    assert isinstance(norm, nn.BatchNorm2d)
    weight, bias = _folded(conv, norm)
    kind = "relu" if rectify else "none"
    steps = [list(conv.padding), list(conv.stride), list(conv.dilation)]
    product: Tensor
    if isinstance(conv, nn.ConvTranspose2d):
        padding, stride, dilation = steps
        product = torch.ops.mkldnn._convolution_transpose_pointwise(
            x, weight, bias, padding, list(conv.output_padding), stride, dilation, 1, kind, [], ""
        )
    elif plus is not None:
        after: tuple[Any, ...] = ("relu", [], "") if rectify else (None, [], None)
        product = torch.ops.mkldnn._convolution_pointwise.binary(x, plus, weight, bias, *steps, 1, "add", 1.0, *after)
    else:
        product = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *steps, 1, kind, [], "")
    return product


def _folded(conv: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    scale, shift = _scale_and_shift(norm, conv.bias)
    across = scale[None, :, None, None] if isinstance(conv, nn.ConvTranspose2d) else scale[:, None, None, None]
    return conv.weight * across, shift


def _scale_and_shift(norm: nn.BatchNorm1d | nn.BatchNorm2d, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """What a norm in use does to a product whose ``bias`` comes before it."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -norm.running_mean * scale if bias is None else (bias - norm.running_mean) * scale
    return scale, shift if norm.bias is None else shift + norm.bias


def _fusable(x: Tensor, conv: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> bool:
    plain = conv.groups == 1 and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    known = plain and _known(norm) and not _heard(conv)
    return known and _fast(x, conv.weight) and x.is_contiguous(memory_format=torch.channels_last)


def _known(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> bool:
    """Whether the statistics are those that were learned, and not the batch's own."""
    learned = not norm.training and norm.running_var is not None and norm.running_var.dtype == torch.float32
    return learned and not _heard(norm)


def _heard(layer: nn.Module) -> bool:
    """Whether somebody listens to the layer, and so wants it called by itself."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


def _beside(plus: Tensor, conv: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    return isinstance(conv, nn.Conv2d) and plus.is_contiguous(memory_format=torch.channels_last)


def _in_pieces(x: Tensor, weight: Tensor, bias: Tensor | None, rectify: bool) -> Tensor:
    rows = x.reshape(-1, x.shape[-1])
    product, kind, first = rows.new_empty((len(rows), len(weight))), "relu" if rectify else "none", 0
    for piece in _PIECES:
        for _ in range((len(rows) - first) // piece):
            part = rows[first : first + piece]
            product[first : first + piece] = torch.ops.mkldnn._linear_pointwise(part, weight, bias, kind, [], "")
            first += piece
    if first < len(rows):  # filled up: a row is the same bits wherever it stands
        rest = F.pad(rows[first:], (0, 0, 0, _PIECES[-1] - (len(rows) - first)))
        rest = torch.ops.mkldnn._linear_pointwise(rest, weight, bias, kind, [], "")
        product[first:] = rest[: len(rows) - first]
    return product.view(*x.shape[:-1], len(weight))


def _few(x: Tensor, weight: Tensor) -> bool:
    return x.numel() < _PIECES[-1] * x.shape[-1] or x.numel() * len(weight) < _WORTH_IT


def _fast(x: Tensor, weight: Tensor) -> bool:
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.is_autocast_enabled("cpu"):
        return False
    kind = x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu" and x.numel() > 0
    wanted = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    return kind and not wanted and type(x) is Tensor and _works()


@functools.cache
def _works() -> bool:
    """Whether this torch has oneDNN's product and this processor AVX-512: its narrower kernels are no faster."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not torch.backends.mkldnn.is_available():
        return False
    x, weight = torch.ones(8, 16), torch.ones(4, 16)
    try:
        found = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):  # an operator that torch does not promise to keep
        return False
    return bool((found == 16).all())
