"""Training of models of scene flow: pairs of scans in place of clouds, true flow in place of boxes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from perception.training.module import DetectionTraining


class FlowTraining(DetectionTraining):
    """As a detector is trained; only the batches and the loss are of another kind."""

    def losses(self, batch: Any, model: Any = None) -> dict[str, Tensor]:
        model = self.model if model is None else model
        predictions = model(model.voxelise(model.points(batch.pairs)))
        found: dict[str, Tensor] = model.loss(predictions, batch.truths)
        return found
