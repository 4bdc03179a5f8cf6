"""Gradients of a loss over more clouds than fit in memory at once (Revaud et al. 2019, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perception.models.model import Model
from perception.points import PointCloud
from perception.training.randomness import random_state, restore_random_state


@dataclass(eq=False)
class FirstPass:
    """What a pass without gradients found: the loss, a leaf that a caller may scale before its backward; descriptors
    (B, D); the loss's gradient in them; and the random state before each chunk."""

    chunks: Sequence[Sequence[PointCloud]]
    loss: Tensor
    descriptors: Tensor
    gradient: list[Tensor]
    states: list[dict[str, Any]]
    buffers: dict[str, Tensor]
    after: dict[str, Any]


def multistage_backward(
    model: Model, chunks: Sequence[Sequence[PointCloud]], loss: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Add to ``.grad`` what ``loss(descriptors of all chunks).backward()`` would, in the memory of one chunk.

    Descriptors of all chunks without gradients, the loss's gradient in them, and each chunk once more with it. The
    second pass of a chunk draws the same random numbers as its first, so that it leaves the same layers out, and
    buffers (running statistics) end as after one pass. Returns the loss and the descriptors (B, D), detached.
    """
    found = first_pass(model, chunks, loss)
    found.loss.backward()
    second_pass(model, found)
    return found.loss.detach(), found.descriptors


def first_pass(model: Model, chunks: Sequence[Sequence[PointCloud]], loss: Callable[[Tensor], Tensor]) -> FirstPass:
    """All descriptors without gradients and the loss of them. Call backward of its ``loss``, then ``second_pass``."""
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    found, states = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(random_state())
            found.append(descriptors_of(model, chunk))
    descriptors = torch.cat(found).requires_grad_(True)
    value = loss(descriptors)
    (gradient,) = torch.autograd.grad(value, descriptors)
    parts = list(gradient.split([len(part) for part in found]))
    leaf = value.detach().requires_grad_(True)
    return FirstPass(chunks, leaf, descriptors.detach(), parts, states, buffers, random_state())


def second_pass(model: Model, found: FirstPass) -> None:
    """Each chunk once more, with the loss's gradient; the loss's own ``.grad`` scales it."""
    scale = 1.0 if found.loss.grad is None else found.loss.grad
    _put_back(model, found.buffers)
    for chunk, state, part in zip(found.chunks, found.states, found.gradient):
        restore_random_state(state)
        descriptors_of(model, chunk).backward(gradient=part * scale)
    restore_random_state(found.after)


def descriptors_of(model: Model, chunk: Sequence[PointCloud]) -> Tensor:
    """(B, D) of a chunk; grouped anew each time: tables of all chunks together would need more memory than points."""
    return model(model.voxelise(model.points(chunk)))


def _put_back(model: Model, buffers: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in model.named_buffers():
            value.copy_(buffers[name])
