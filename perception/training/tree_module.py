"""Training of models of trees: crops of labelled plots in place of clouds with boxes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from perception.datasets.trees.labels import tree_truth
from perception.sparse import BatchNorm
from perception.training.data import Batch
from perception.training.module import DetectionTraining

PLOTS = 4
"""Of validation, segmented whole each time."""
LEAST_MOMENTUM = 0.1
"""Of the first epoch's momentum of batch normalisation."""


class TreeTraining(DetectionTraining):
    """As a detector is trained, but for the loss and for what depends on the epoch: whether proposals are scored, and
    the momentum of batch normalisation. Validation also segments plots and tells precision, recall and F1."""

    def setup(self, stage: str) -> None:
        norms = [m for m in self.model.modules() if isinstance(m, BatchNorm)]
        self._norms = [(norm, float(norm.momentum or 0.0)) for norm in norms]

    def losses_of(self, model: Any, predictions: Any, batch: Batch) -> dict[str, Tensor]:
        truths = [tree_truth(cloud, name) for cloud, name in zip(batch.clouds, batch.identifiers)]
        found: dict[str, Tensor] = model.loss(predictions, truths)
        return found

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        epoch = batch_idx // self.stream.per_epoch
        self.model.at_epoch(epoch + 1)
        every = self.experiment.training.norm_momentum_halved
        if every:
            for norm, first in self._norms:
                norm.momentum = first * max(0.5 ** (epoch // every), LEAST_MOMENTUM)
        return super().training_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        from perception.training.evaluation_trees import evaluate_trees  # it reads this package's other parts

        if self.validation_data is None:
            return
        plots: Any = self.validation_data.samples
        model = self.best_model
        training = model.training
        model.eval()
        try:
            found = evaluate_trees(model, [plots], limit=PLOTS).total
        finally:
            model.train(training)
        values = {"precision": found.precision, "recall": found.recall, "f1": found.f1}
        self.log_dict({f"validate/{name}": value for name, value in values.items()})
