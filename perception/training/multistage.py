"""Gradients of a loss over more clouds than fit in memory at once (Revaud et al. 2019, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from perception.models.model import Model
from perception.points import PointCloud
from perception.training.randomness import random_state, restore_random_state


def multistage_backward(
    model: Model, chunks: Sequence[Sequence[PointCloud]], loss: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Add to ``.grad`` what ``loss(descriptors of all chunks).backward()`` would, in the memory of one chunk.

    Descriptors of all chunks without gradients, the loss's gradient in them, and each chunk once more with it. The
    second pass of a chunk draws the same random numbers as its first, so that it leaves the same layers out, and
    buffers (running statistics) end as after one pass. Returns the loss and the descriptors (B, D), detached.
    """
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    found, states = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(random_state())
            found.append(_descriptors(model, chunk))
    descriptors = torch.cat(found).requires_grad_(True)
    value = loss(descriptors)
    (gradient,) = torch.autograd.grad(value, descriptors)
    after = random_state()
    _put_back(model, buffers)
    for chunk, state, part in zip(chunks, states, gradient.split([len(part) for part in found])):
        restore_random_state(state)
        _descriptors(model, chunk).backward(gradient=part)
    restore_random_state(after)
    return value.detach(), descriptors.detach()


def _descriptors(model: Model, chunk: Sequence[PointCloud]) -> Tensor:
    # Grouped anew each time: the tables of all chunks together would need more memory than their points.
    return model(model.voxelise(model.points(chunk)))


def _put_back(model: Model, buffers: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in model.named_buffers():
            value.copy_(buffers[name])
