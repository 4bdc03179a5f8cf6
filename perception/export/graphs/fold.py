"""Normalisation folded into the layer before it: one pass over memory less for each, and a form that int8 needs."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from perception.sparse import BatchNorm


def fold_maps(module: nn.Module) -> nn.Module:
    """Fold every 2D normalisation behind a convolution, in place: in sequences, and in pairs called convN and normN."""
    for part in module.modules():
        names = [name for name, _ in part.named_children()]
        if isinstance(part, nn.Sequential):
            pairs = list(pairwise(names))
        else:
            pairs = [(name, "norm" + name[4:]) for name in names if name.startswith("conv")]
        for first, second in pairs:
            _fold(part, first, second)
    return module


def folded_linear(linear: nn.Linear, norm: BatchNorm) -> nn.Linear:
    """One linear layer that does what both do."""
    scale, shift = norm.folded()
    made = nn.Linear(linear.in_features, linear.out_features)
    bias = shift if linear.bias is None else shift + linear.bias * scale
    with torch.no_grad():
        made.weight.copy_(linear.weight * scale[:, None])
        made.bias.copy_(bias)
    return made


def _fold(owner: nn.Module, first: str, second: str) -> None:
    conv, norm = getattr(owner, first), getattr(owner, second, None)
    if isinstance(norm, nn.BatchNorm2d) and isinstance(conv, (nn.Conv2d, nn.ConvTranspose2d)):
        setattr(owner, first, fuse_conv_bn_eval(conv, norm, transpose=isinstance(conv, nn.ConvTranspose2d)))
        setattr(owner, second, nn.Identity())
