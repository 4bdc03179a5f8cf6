"""An exponential moving average of the weights: smoother than the last step's, and what is validated and saved."""

from __future__ import annotations

import copy
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import nn

from perception.errors import PerceptionError


class WeightAverage:
    """Averages of what a model saves, its parameters and persistent buffers, over its steps (Tarvainen & Valpola 2017).

    ``model`` is the averaged copy, in eval mode. The first update copies, whole numbers are copied always.
    """

    def __init__(self, model: Any, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        weight = 1 - self.decay if self.updates else 1.0
        now = model.state_dict()
        for key, average in self.model.state_dict().items():
            if average.is_floating_point() and weight < 1:
                average.lerp_(now[key], weight)
            else:
                average.copy_(now[key])
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "weights": self.model.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates = int(state["updates"])
        self.model.load_state_dict(state["weights"])


class Averaging(Callback):
    """Keeps the module's ``average`` up to date, one update an optimiser step, and in the saved state."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._average: WeightAverage | None = None
        self._restored: dict[str, Any] | None = None

    def on_fit_start(self, trainer: Trainer, module: Any) -> None:
        self._average = module.average = WeightAverage(module.model, self.decay)
        if self._restored is not None:
            self._average.load_state_dict(self._restored)
            self._restored = None

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        last = batch_idx + 1 == int(trainer.num_training_batches)
        if self._average is not None and ((batch_idx + 1) % trainer.accumulate_grad_batches == 0 or last):
            self._average.update(module.model)

    def state_dict(self) -> dict[str, Any]:
        return {"decay": self.decay, "average": self._average.state_dict() if self._average else {}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state.get("decay") != self.decay:
            raise PerceptionError(
                f"the state was averaged with a decay of {state.get('decay')}", f"{self.decay}", "use the same settings"
            )
        self._restored = state["average"]
