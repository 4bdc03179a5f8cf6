"""mmdet3d's sparse encoders once more, in torch's plain operations and double precision: cells looked up one by one of
a kernel's places, so that its own layers say what to do and neither spconv nor our engine takes part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Cells:
    """``features`` (N, C) of the ``places`` (N, 4) batch z y x of a grid of ``shape`` z y x."""

    features: Tensor
    places: Tensor
    shape: tuple[int, ...]


def encoded(encoder: nn.Module, features: Tensor, places: Tensor, batch_size: int) -> Tensor:
    """What ``encoder``, a SparseEncoder of mmdet3d, answers: (batch, C * z, y, x), float64."""
    x = Cells(features.double(), places.long(), tuple(encoder.sparse_shape))  # type: ignore[arg-type]
    for part in (encoder.conv_input, *encoder.encoder_layers.children(), encoder.conv_out):
        x = _through(part, x)
    channels = x.features.shape[1]
    dense = x.features.new_zeros(batch_size, *x.shape, channels).index_put(tuple(x.places.T), x.features)
    return dense.permute(0, 4, 1, 2, 3).flatten(1, 2)


def _through(layer: Any, x: Cells) -> Cells:
    if hasattr(layer, "conv1"):
        inner = _through(layer.conv1, x)
        inner = replace(inner, features=layer.norm1(inner.features).relu())
        inner = _through(layer.conv2, inner)
        return replace(inner, features=(layer.norm2(inner.features) + x.features).relu())
    if isinstance(layer, nn.BatchNorm1d | nn.ReLU):
        return replace(x, features=layer(x.features.clone()))
    if hasattr(layer, "subm"):
        return _convolved(layer, x)
    for part in layer.children():
        x = _through(part, x)
    return x


def _convolved(layer: Any, x: Cells) -> Cells:
    kernel = torch.tensor(layer.weight.shape[1:4])
    if layer.subm:
        stride, padding, shape, places = torch.ones(3).long(), kernel // 2, x.shape, x.places
    else:
        stride, padding = torch.tensor(layer.stride), torch.tensor(layer.padding)
        shape = tuple(((torch.tensor(x.shape) + 2 * padding - kernel) // stride + 1).tolist())
        places = _reached(x.places, kernel, stride, padding, shape)
    keys, order = _keys(x.places, x.shape).sort()
    out = x.features.new_zeros(len(places), layer.weight.shape[0])
    for tap in torch.cartesian_prod(*map(torch.arange, kernel.tolist())):
        source = places.clone()
        source[:, 1:] = places[:, 1:] * stride - padding + tap
        wanted = _keys(source, x.shape)
        at = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        there = ((source[:, 1:] >= 0) & (source[:, 1:] < torch.tensor(x.shape))).all(1) & (keys[at] == wanted)
        z, y, width = tap.tolist()
        shares = x.features[order[at[there]]] @ layer.weight[:, z, y, width].T
        out = out.index_add(0, there.nonzero()[:, 0], shares)
    return Cells(out, places, shape)


def _reached(places: Tensor, kernel: Tensor, stride: Tensor, padding: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The cells of the output that any input reaches."""
    found = []
    for tap in torch.cartesian_prod(*map(torch.arange, kernel.tolist())):
        shifted = places[:, 1:] + padding - tap
        cells = shifted.div(stride, rounding_mode="floor")
        fits = ((shifted == cells * stride) & (cells >= 0) & (cells < torch.tensor(shape))).all(1)
        found.append(torch.cat([places[fits, :1], cells[fits]], 1))
    return torch.cat(found).unique(dim=0)


def _keys(places: Tensor, shape: tuple[int, ...]) -> Tensor:
    depth, height, width = shape
    return ((places[:, 0] * depth + places[:, 1]) * height + places[:, 2]) * width + places[:, 3]
