"""The optimiser and its one-cycle schedule, as OpenPCDet's "adam_onecycle" trains its models."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import nn

from perception.training.settings import TrainingConfig


def make_optimiser(model: nn.Module, settings: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW (beta2 0.99 unless set) over every parameter of the model, with weight decay decoupled from the gradient.

    The published recipe decays normalisation layers and biases too; ``decay_norms`` False spares them, which are the
    parameters of fewer than two dimensions.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in parameters if settings.decay_norms or p.ndim > 1]
    spared = [p for p in parameters if not settings.decay_norms and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    kind = torch.optim.Adam if settings.coupled_decay else torch.optim.AdamW
    return kind(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=(settings.momentum[0], settings.beta2),
    )


def make_schedule(
    optimiser: torch.optim.Optimizer, settings: TrainingConfig, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """One cosine cycle over ``steps`` optimiser steps (Smith & Topin 2018).

    The rate rises from ``learning_rate / div_factor`` and ends at 1e-4 of that start; beta1 goes the other way.
    """
    if settings.schedule != "one-cycle":
        factor = partial(rate_factor, settings=settings, steps=max(steps, 1))
        return torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=settings.learning_rate,
        total_steps=max(steps, 2),
        pct_start=settings.pct_start,
        div_factor=settings.div_factor,
        final_div_factor=1e4,
        base_momentum=settings.momentum[1],
        max_momentum=settings.momentum[0],
    )


def rate_factor(step: int, settings: TrainingConfig, steps: int) -> float:
    """What the learning rate is multiplied by at a step of ``steps`` in all."""
    if settings.schedule == "constant":
        return 1.0
    epoch = step * settings.epochs / steps
    if settings.schedule == "exponential":
        return float(settings.rate_decay ** math.floor(epoch + 1e-9))
    if epoch < settings.warm_up:
        return (epoch + settings.epochs / steps) / (settings.warm_up + settings.epochs / steps)
    if settings.schedule == "milestones":
        return float(0.1 ** sum(epoch + 1e-9 >= milestone for milestone in settings.milestones))
    left = (epoch - settings.warm_up) / max(settings.epochs - settings.warm_up, 1e-9)
    return 0.5 * (1 + math.cos(math.pi * min(left, 1.0)))
