"""What happens beside the training steps: states saved, best weights kept, progress printed, pictures drawn."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from perception.errors import PerceptionError
from perception.flow_pipeline import perceive_flow
from perception.io.weights import Card, save_weights
from perception.pipeline import perceive
from perception.results import Skeletons
from perception.training.data import Augmented
from perception.training.module import DetectionTraining
from perception.view.birds_eye import birds_eye
from perception.view.flow_picture import flow_picture
from perception.view.skeletons import skeletons_from_above
from perception.view.trees import tree_picture

STATE = "last.ckpt"
FINAL = "final.safetensors"
BEST = "best.safetensors"
_SHOWN = ("precision", "recall", "f1")


class SaveState(Callback):
    """Writes ``last.ckpt`` every so many minutes or steps, and when the process is asked to stop.

    States are written between optimiser steps only: gradients under way are not part of them. After the first Ctrl-C
    or SIGTERM (``interrupted`` is the signal's number) the state is saved and training ends (``stopped``); the second
    acts at once.
    """

    def __init__(self, folder: Path, minutes: float, steps: int | None) -> None:
        self.path, self.minutes, self.steps = folder / STATE, minutes, steps
        self.interrupted: int | None = None
        self.stopped = False
        self._due = False
        self._saved = time.monotonic()
        self._before: dict[int, Any] = {}

    def on_fit_start(self, trainer: Trainer, module: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask_to_stop)

    def teardown(self, trainer: Trainer, module: Any, stage: str) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = number
        signal.signal(number, self._before.get(number) or signal.SIG_DFL)

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        steps_on = self.steps is not None and trainer.global_step % self.steps == 0
        late = self._agreed(trainer, time.monotonic() - self._saved > self.minutes * 60)
        self._due = self._due or steps_on or late
        stop = self._agreed(trainer, self.interrupted is not None)
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        # A state from just before a validation resumes after it: that one would be lost.
        every = trainer.val_check_batch
        validates = trainer.enable_validation and every is not None and (batch_idx + 1) % every == 0
        if stop or (self._due and not validates):
            trainer.save_checkpoint(self.path)
            self._saved, self._due = time.monotonic(), False
        if stop:
            self.stopped = True
            trainer.limit_val_batches = 0  # lightning would validate before it stops
            trainer.should_stop = True

    @staticmethod
    def _agreed(trainer: Trainer, wish: bool) -> bool:
        """Saving and stopping take all processes: one that wishes it is enough."""
        return trainer.strategy.reduce_boolean_decision(wish, all=False) if trainer.world_size > 1 else wish


class SaveWeights(Callback):
    """Weights files with their card: ``best.safetensors`` by the validation loss, ``final.safetensors`` at the end."""

    def __init__(self, folder: Path, card: Card) -> None:
        self.folder, self.card = folder, card
        self.best = float("inf")

    def on_validation_end(self, trainer: Trainer, module: Any) -> None:
        value = trainer.callback_metrics.get("validate/loss")
        if value is not None and float(value) < self.best:
            self.best = float(value)
            self._save(trainer, module, BEST)

    def on_train_end(self, trainer: Trainer, module: Any) -> None:
        if not trainer.should_stop:
            self._save(trainer, module, FINAL)

    def _save(self, trainer: Trainer, module: DetectionTraining, name: str) -> None:
        if trainer.is_global_zero:
            save_weights(self.folder / name, module.experiment.model, module.best_model, self.card)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = float(state["best"])


class PlainProgress(Callback):
    """A line every so many seconds, for logs and pipes."""

    def __init__(self, seconds: float = 30.0) -> None:
        self.seconds = seconds
        self._printed = 0.0
        self._begun = (0.0, 0)

    def on_train_start(self, trainer: Trainer, module: Any) -> None:
        self._begun = (time.monotonic(), module.batches_done)

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = time.monotonic()
        total = int(trainer.num_training_batches)
        if trainer.is_global_zero and (now - self._printed > self.seconds or batch_idx + 1 == total):
            self._printed = now
            pace = (now - self._begun[0]) / max(batch_idx + 1 - self._begun[1], 1)
            values = trainer.callback_metrics
            losses = " ".join(f"{k.removeprefix('train/')} {float(v):.4f}" for k, v in values.items() if "train/" in k)
            epoch = batch_idx // module.stream.per_epoch + 1
            left = pace * (total - batch_idx - 1) / 60
            print(
                f"batch {batch_idx + 1}/{total} epoch {epoch} {losses} | {pace:.2f} s a batch, {left:.0f} min left",
                flush=True,
            )

    def on_validation_end(self, trainer: Trainer, module: Any) -> None:
        values = trainer.callback_metrics
        if trainer.is_global_zero and "validate/loss" in values:
            further = " ".join(
                f"{name} {float(values[f'validate/{name}']):.3f}" for name in _SHOWN if f"validate/{name}" in values
            )
            print(f"validation loss {float(values['validate/loss']):.4f} {further}".rstrip(), flush=True)


class Pictures(Callback):
    """Every so many epochs, predictions and labels of the first sample as ``pictures/epoch_NNN.png``."""

    def __init__(self, folder: Path, samples: Augmented, every: int) -> None:
        self.folder, self.samples, self.every = folder / "pictures", samples, every

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        epoch, rest = divmod(batch_idx + 1, module.stream.per_epoch)
        if rest or epoch % self.every or not trainer.is_global_zero:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        sample = self.samples[(0, 0)]
        model, training = module.best_model, module.best_model.training
        model.eval()
        if model.task == "flow":
            return self._flow(model, training, sample, epoch)
        if model.task == "trees":
            return self._trees(model, training, sample, epoch)
        try:
            found = perceive(model, [sample.cloud], views=[sample.view])[0].cpu()  # type: ignore[union-attr]
        finally:
            model.train(training)
        picture: Any = skeletons_from_above if isinstance(found, Skeletons) else birds_eye
        picture(
            sample.cloud,
            found.select(found.scores > 0.3),
            sample.objects,
            self.folder / f"epoch_{epoch:03d}.png",
            title=f"{sample.identifier}, epoch {epoch}",
        )

    def _flow(self, model: Any, training: bool, sample: Any, epoch: int) -> None:
        try:
            found = perceive_flow(model, [sample.pair])[0]
        finally:
            model.train(training)
        path = self.folder / f"epoch_{epoch:03d}.png"
        flow_picture(sample.pair, found, path, seconds=sample.seconds, title=f"{sample.identifier}, epoch {epoch}")

    def _trees(self, model: Any, training: bool, sample: Any, epoch: int) -> None:
        try:
            found: Any = perceive(model, [sample.cloud])[0]
        finally:
            model.train(training)
        path = self.folder / f"epoch_{epoch:03d}.png"
        tree_picture(sample.cloud, found, path, title=f"{sample.identifier}, epoch {epoch}")


def load_state(module: DetectionTraining, state: dict[str, torch.Tensor]) -> None:
    """Check that a training state fits the model before lightning loads it."""
    wanted = module.state_dict()
    wrong = [
        k
        for k in wanted.keys() | state.keys()
        if k not in wanted or k not in state or wanted[k].shape != state[k].shape
    ]
    if wrong:
        raise PerceptionError(f"the state does not fit the model: {', '.join(sorted(wrong)[:4])}", "the same model")
