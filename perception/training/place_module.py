"""Training of models of place recognition: pairs of recordings, a ranking loss over the whole batch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.losses.places import self_distillation
from perception.points import PointCloud
from perception.training.module import DetectionTraining
from perception.training.multistage import FirstPass, descriptors_of, first_pass, second_pass
from perception.training.place_batch import PlaceBatch


class PlaceTraining(DetectionTraining):
    """The loss sees all descriptors of a batch at once; clouds go through the network ``places.chunk`` at a time."""

    _pass: FirstPass | None = None

    def losses(self, batch: Any, model: Any = None) -> dict[str, Tensor]:
        """Of one pass over all clouds, for validation and for batches of one chunk."""
        model = self.model if model is None else model
        descriptors = torch.cat([descriptors_of(model, chunk) for chunk in self._chunks(batch.clouds)])
        return self._losses(descriptors, batch)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        batch = self._changed(batch)
        chunks = self._chunks(batch.clouds)
        if len(chunks) > 1 and self.trainer.world_size > 1:
            raise PerceptionError(
                f"{len(chunks)} chunks of {self.experiment.places.chunk} clouds in several processes",
                "one process, or as many clouds in a chunk as in a batch",
                "raise places.chunk, or lower training.batch_size",
            )
        if len(chunks) == 1:
            self._pass = None
            losses = self.losses(batch)
        else:
            losses = {}
            self._pass = first_pass(self.model, chunks, lambda found: self._kept(self._losses(found, batch), losses))
            losses["loss"] = self._pass.loss
        return self._logged(losses, batch, batch_idx)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Of several chunks each goes through the network once more; ``loss`` may have been scaled by lightning."""
        loss.backward()
        if self._pass is not None:
            second_pass(self.model, self._pass)
            self._pass = None

    def _losses(self, descriptors: Tensor, batch: PlaceBatch) -> dict[str, Tensor]:
        settings = self.experiment.places
        losses: dict[str, Tensor] = self.model.loss(descriptors, batch.pairs(settings.radii))
        if self._distils(descriptors):
            with torch.no_grad():
                teacher = self.best_model
                averaged = torch.cat([descriptors_of(teacher, part) for part in self._chunks(batch.clouds)])
            apart = settings.distillation * self_distillation(descriptors, averaged)
            losses = {"loss": losses["loss"] + apart, "ranking": losses["loss"], "distillation": apart}
        return losses

    def _distils(self, descriptors: Tensor) -> bool:
        settings = self.experiment.places
        if not settings.distillation or self.average is None or not descriptors.requires_grad:
            return False
        return self.batches_done >= settings.distillation_from * len(self.stream)

    @staticmethod
    def _kept(found: dict[str, Tensor], into: dict[str, Tensor]) -> Tensor:
        into.update({name: value.detach() for name, value in found.items()})
        return found["loss"]

    def _chunks(self, clouds: list[PointCloud]) -> list[list[PointCloud]]:
        size = self.experiment.places.chunk
        return [clouds[start : start + size] for start in range(0, len(clouds), size)]

    def _changed(self, batch: PlaceBatch) -> PlaceBatch:
        """The batch mirrored and turned as one."""
        settings = self.experiment.place_augment
        draws = torch.rand(3).tolist()
        turn = settings.turn * (2 * draws[2] - 1)
        signs = [-1.0 if draws[0] < settings.flip_x else 1.0, -1.0 if draws[1] < settings.flip_y else 1.0]
        if turn == 0 and signs == [1.0, 1.0]:
            return batch
        cos, sin = math.cos(turn), math.sin(turn)
        change = torch.tensor([[cos * signs[0], -sin * signs[1], 0], [sin * signs[0], cos * signs[1], 0], [0, 0, 1]])
        clouds = [cloud.with_xyz(cloud.xyz @ change.numpy().T) for cloud in batch.clouds]
        return replace(batch, clouds=clouds)
