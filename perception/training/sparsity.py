"""2:4 sparsity learned in training: SR-STE, the sparse-refined straight-through estimator (Zhou et al., ICLR 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn

from perception.errors import PerceptionError

GROUP, KEPT = 4, 2


def two_of_four(weight: Tensor) -> Tensor:
    """Mask (bool, of the weight's shape) of the two largest magnitudes of each four along dimension 1, the inputs."""
    if weight.ndim < 2 or weight.shape[1] % GROUP:
        raise PerceptionError(
            f"a weight {tuple(weight.shape)}", f"a multiple of {GROUP} along the second dimension, the inputs"
        )
    groups = weight.detach().abs().movedim(1, -1).unflatten(-1, (-1, GROUP))
    kept = groups.topk(KEPT, -1).indices
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, kept, True).flatten(-2).movedim(-1, 1)


def sparse_layers(model: nn.Module) -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    """Linear and Conv2d layers whose inputs come in fours: all others stay dense."""
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)) and module.weight.shape[1] % GROUP == 0:
            yield name, module


def is_two_of_four(weight: Tensor) -> bool:
    """Whether no four inputs have more than two weights that are not zero."""
    groups = weight.movedim(1, -1).unflatten(-1, (-1, GROUP))
    return bool(((groups != 0).sum(-1) <= KEPT).all())


class TwoOfFour(Callback):
    """Gradients of the masked weights update the dense ones, of which those masked out decay (equation 9).

    The model holds the masked weights at all times but in the optimiser's step, so what is validated and saved is 2:4
    sparse; the dense ones are kept here, and in saved states. ``refinement`` is the paper's lambda.
    """

    def __init__(self, refinement: float) -> None:
        self.refinement = refinement
        self._weights: dict[str, nn.Parameter] = {}
        self._dense: dict[str, Tensor] = {}
        self._restored: dict[str, Tensor] | None = None
        self._stepped = False

    def on_fit_start(self, trainer: Trainer, module: Any) -> None:
        self.take(module.model)

    def on_before_optimizer_step(self, trainer: Trainer, module: Any, optimizer: Any) -> None:
        self.before_step()

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._stepped:
            self.after_step()

    @torch.no_grad()
    def take(self, model: nn.Module) -> None:
        """Start with the model's weights as the dense ones, or with those of a saved state."""
        layers = [(name, layer) for name, layer in sparse_layers(model) if layer.weight.requires_grad]
        if not layers:
            raise PerceptionError(
                f"{type(model).__name__} has no Linear or Conv2d layer that learns, with inputs in fours",
                "one at least",
                "leave out training.two_of_four",
            )
        self._weights = {f"{name}.weight": layer.get_parameter("weight") for name, layer in layers}
        restored = self._restored or {}
        self._dense = {key: restored.get(key, weight).to(weight).clone() for key, weight in self._weights.items()}
        self._restored = None
        self._mask()

    @torch.no_grad()
    def before_step(self) -> None:
        """The dense weights back in place, and what decays them added to their gradients."""
        for key, weight in self._weights.items():
            dense = self._dense[key]
            if weight.grad is not None:
                weight.grad.add_(torch.where(two_of_four(dense), 0.0, dense), alpha=self.refinement)
            weight.copy_(dense)
        self._stepped = True

    @torch.no_grad()
    def after_step(self) -> None:
        for key, weight in self._weights.items():
            self._dense[key].copy_(weight)
        self._mask()
        self._stepped = False

    def _mask(self) -> None:
        for key, weight in self._weights.items():
            weight.copy_(torch.where(two_of_four(self._dense[key]), self._dense[key], 0.0))

    def state_dict(self) -> dict[str, Any]:
        return {"dense": self._dense}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._restored = state["dense"]
