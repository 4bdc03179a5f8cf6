"""One training step and one validation step of a detector, for lightning's Trainer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from perception.config import to_plain
from perception.errors import PerceptionError, nearest
from perception.training.averaging import WeightAverage
from perception.training.data import Augmented, Batch, EpochBatches, training_loader, validation_loader
from perception.training.randomness import random_state, restore_random_state
from perception.training.schedule import make_optimiser, make_schedule
from perception.training.settings import Experiment
from perception.training.targets import Targets

_EVERYWHERE = (-math.inf, -math.inf, -math.inf, math.inf, math.inf, math.inf)


def frozen_parts(model: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """The modules of these names, whose weights no longer learn."""
    known, found = dict(model.named_modules()), []
    for name in names:
        if not name or name not in known:
            raise PerceptionError(
                f"training.frozen names {name!r}", "a part of the model", nearest(name, [key for key in known if key])
            )
        found.append(known[name].requires_grad_(False).eval())
    if names and not any(parameter.requires_grad for parameter in model.parameters()):
        raise PerceptionError(f"training.frozen = {', '.join(names)} leaves nothing to learn", "parts, not all of them")
    return found


class DetectionTraining(lightning.LightningModule):
    """A detector with its data, loss, optimiser and place in the stream of batches.

    To lightning all epochs are one (see ``EpochBatches``), so that resuming has one case only: ``batches_done`` of the
    stream are left out. ``validate`` None for no validation.
    """

    def __init__(self, experiment: Experiment, model: Any, train: Augmented, validate: Augmented | None) -> None:
        super().__init__()
        self.experiment, self.model = experiment, model
        self.train_data, self.validation_data = train, validate
        self.targets = Targets(
            tuple(model.classes),
            getattr(model.config, "point_range", _EVERYWHERE),  # models of trees see all of a plot
            experiment.classes,
            experiment.minimum_points,
            bool(model.velocity),
        )
        self.frozen = frozen_parts(model, experiment.training.frozen)
        self.average: WeightAverage | None = None
        self.batches_done = 0
        self._random: dict[str, Any] | None = None

    def train(self, mode: bool = True) -> DetectionTraining:
        """As ever, but for the parts that keep their statistics."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    @property
    def stream(self) -> EpochBatches:
        """This process's batches from where training stands."""
        settings = self.experiment.training
        return EpochBatches(
            len(self.train_data),
            settings.batch_size,
            settings.epochs,
            settings.seed,
            self.batches_done,
            self.trainer.global_rank,
            self.trainer.world_size,
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        return training_loader(self.train_data, self.stream, self.experiment.training.workers)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        if self.validation_data is None:
            return []
        settings = self.experiment.training
        return validation_loader(
            self.validation_data,
            settings.batch_size,
            settings.workers,
            self.trainer.global_rank,
            self.trainer.world_size,
        )

    def configure_optimizers(self) -> Any:
        settings = self.experiment.training
        optimiser = make_optimiser(self.model, settings)
        steps = math.ceil(len(self.stream) / settings.accumulate)
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": make_schedule(optimiser, settings, steps), "interval": "step"},
        }

    @property
    def best_model(self) -> Any:
        """What is validated, pictured and saved: the averaged model if there is one, else the model itself."""
        return self.model if self.average is None else self.average.model

    def losses(self, batch: Batch, model: Any = None) -> dict[str, Tensor]:
        """``loss`` and its parts for a batch; of the model in training unless another is given."""
        model = self.model if model is None else model
        voxels = model.with_views(model.voxelise(model.points(batch.clouds)), batch.views)
        return self.losses_of(model, model(voxels), batch)

    def losses_of(self, model: Any, predictions: Any, batch: Batch) -> dict[str, Tensor]:
        """The losses of predictions for a batch."""
        pairs = [self.targets(*item) for item in zip(batch.clouds, batch.objects, batch.identifiers)]
        boxes = [b.to(self.device) for b, _ in pairs]
        labels = [k.to(self.device) for _, k in pairs]
        found: dict[str, Tensor] = model.loss(predictions, boxes, labels)
        return found

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._logged(self.losses(batch), batch, batch_idx)

    def _logged(self, losses: dict[str, Tensor], batch: Any, batch_idx: int) -> Tensor:
        """The loss of a step that is finite, written to the logs."""
        if not torch.isfinite(losses["loss"]):
            parts = ", ".join(f"{name} {value.item():.3g}" for name, value in losses.items())
            raise PerceptionError(
                f"the loss is not finite at batch {batch_idx} ({parts}), frames {', '.join(batch.identifiers)}",
                "finite losses",
                "lower training.learning_rate, use training.precision 32-true, or look at these frames",
            )
        rates = {"rate": self.optimizers().param_groups[0]["lr"]}  # type: ignore[union-attr]
        values = {f"train/{name}": value.detach() for name, value in losses.items()}
        self.log_dict({**values, **rates}, batch_size=len(batch))
        self.log("epoch", float(batch_idx // self.stream.per_epoch), batch_size=len(batch))
        self.batches_done = batch_idx + 1
        return losses["loss"]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        values = {f"validate/{name}": value for name, value in self.losses(batch, self.best_model).items()}
        self.log_dict(values, batch_size=len(batch), on_epoch=True, sync_dist=self.trainer.world_size > 1)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch  # the model stacks the clouds on its own device

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["perception"] = {
            "experiment": to_plain(self.experiment),
            "batches_done": self.batches_done,
            "world": self.trainer.world_size,
            "random": random_state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        mine, world = checkpoint["perception"], self.trainer.world_size
        if mine["world"] != world:
            raise PerceptionError(
                f"the checkpoint is of training with {mine['world']} processes, now there are {world}",
                "the same number: batches are shared among them",
                f"start {mine['world']} processes",
            )
        self.batches_done = int(mine["batches_done"])
        self._random = mine["random"]

    def on_train_start(self) -> None:
        if self._random is not None:
            restore_random_state(self._random)
            self._random = None
