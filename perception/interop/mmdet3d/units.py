"""The units of mmdet3d's sparse encoders on our engine; parameters have its names and shapes.

mmdet3d reads weights of two layouts: spconv 2.x's (out, kz, ky, kx, in), which is ours, and mmcv's of spconv 1.x
(kz, ky, kx, in, out). Shapes tell them apart; what is saved here carries the version that mmdet3d takes for the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from perception.sparse import BatchNorm, SparseConv, SparseTensor, SubmanifoldConv
from perception.sparse.conv import SparseLayer


class _BothLayouts:
    """Kernels of spconv 1.x are turned when they are loaded."""

    _version = 2
    weight: nn.Parameter

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        kernel = state_dict.get(f"{prefix}weight")
        if kernel is not None and kernel.ndim == 5 and kernel.shape != self.weight.shape:
            turned = kernel.permute(4, 0, 1, 2, 3)
            if turned.shape == self.weight.shape:
                state_dict[f"{prefix}weight"] = turned
        super()._load_from_state_dict(state_dict, prefix, *rest)  # type: ignore[misc]


class Submanifold(_BothLayouts, SubmanifoldConv):
    """Stands for mmdet3d's SubMConv3d."""


class Strided(_BothLayouts, SparseConv):
    """Stands for mmdet3d's SparseConv3d."""


class Unit(nn.Sequential):
    """A convolution, a normalisation and a ReLU in any order; in the usual one they are one pass without gradients."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        layers: list[Any] = list(self)
        if not (self.training or torch.is_grad_enabled()) and _foldable(layers):
            scale, shift = layers[1].folded()
            return layers[0].fused(x, scale, shift, True)
        for layer in layers:
            x = layer(x) if isinstance(layer, SparseLayer) else x.map(layer)
        return x


def unit(conv: SparseLayer, norm_cfg: Mapping[str, Any], order: Sequence[str]) -> Unit:
    """Normalised are the outputs of ``conv``, also where the norm comes first, as mmdet3d has it."""
    parts: dict[str, nn.Module] = {"conv": conv, "act": nn.ReLU()}
    if "norm" in order:
        parts["norm"] = norm_of(norm_cfg, len(conv.weight))[1]
    return Unit(*(parts[name] for name in order))


class BasicBlock(nn.Module):
    """mmdet3d's SparseBasicBlock: two submanifold convolutions, the input added before the last ReLU."""

    conv1: Submanifold
    conv2: Submanifold

    def __init__(self, channels: int, norm_cfg: Mapping[str, Any]) -> None:
        super().__init__()
        self.norms = []
        for number in (1, 2):  # in mmdet3d's order, by which optimisers keep their states
            self.add_module(f"conv{number}", Submanifold(channels, channels, 3))
            name, norm = norm_of(norm_cfg, channels, number)
            self.add_module(name, norm)
            self.norms.append(name)

    def forward(self, x: SparseTensor) -> SparseTensor:
        first, second = (getattr(self, name) for name in self.norms)
        if not (self.training or torch.is_grad_enabled()) and all(map(_folds, (first, second))):
            scale, shift = first.folded()
            inner = self.conv1.fused(x, scale, shift, True)
            scale, shift = second.folded()
            inner = self.conv2.fused(inner, scale, shift, False)
        else:
            inner = self.conv2(self.conv1(x).map(first).map(torch.relu)).map(second)
        return inner.map(lambda features: torch.relu(features + x.features))


def norm_of(norm_cfg: Mapping[str, Any], channels: int, number: int = 1) -> tuple[str, nn.Module]:
    """mmcv's name of the normalisation, and the layer; plain batch normalisation is ours, which takes one voxel too."""
    name, norm = build_norm_layer(dict(norm_cfg), channels, postfix=number)
    if type(norm) is not nn.BatchNorm1d:
        return name, norm
    own = BatchNorm(channels, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    for mine, theirs in zip(own.parameters(), norm.parameters()):
        mine.requires_grad_(theirs.requires_grad)
    return name, own


def _folds(norm: nn.Module) -> bool:
    return isinstance(norm, BatchNorm) and norm.affine and norm.track_running_stats


def _foldable(layers: Sequence[nn.Module]) -> bool:
    if len(layers) != 3 or not isinstance(layers[0], SparseLayer) or not isinstance(layers[2], nn.ReLU):
        return False
    return _folds(layers[1])
