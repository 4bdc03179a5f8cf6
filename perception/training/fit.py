"""An experiment from settings to weights: the model, its data and lightning's Trainer put together."""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
import yaml
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from perception.config import to_plain
from perception.datasets.augment import build_schedule
from perception.datasets.flow.augment import FlowAugmentation
from perception.datasets.places.augment import PlaceAugmentation
from perception.datasets.trees.augment import TreeAugmentation
from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.io.weights import Card, read_tensors
from perception.models.catalogue import entry
from perception.training.averaging import Averaging
from perception.training.callbacks import FINAL, STATE, Pictures, PlainProgress, SaveState, SaveWeights, load_state
from perception.training.checkpoints import AtomicCheckpointIO, check_resumable, read_checkpoint
from perception.training.data import Augmented, EpochBatches, Pool
from perception.training.flow_module import FlowTraining
from perception.training.keypoint_module import KeypointTraining
from perception.training.module import DetectionTraining
from perception.training.place_batch import PlacePairsDrawn, PlacePool
from perception.training.place_module import PlaceTraining
from perception.training.provenance import describe_frames
from perception.training.settings import Experiment, model_settings
from perception.training.sparsity import TwoOfFour
from perception.training.tree_module import TreeTraining
from perception.training.warm_start import warm_start

# Of no concern here: the stream of batches restarts by itself, and loading in this process is a choice.
_IRRELEVANT = (
    ".*does not have many workers.*",
    ".*dataloader is not resumable.*",
    ".*smaller than the logging interval.*",
    ".*isinstance.treespec.*",
)


@dataclass(frozen=True)
class Outcome:
    """``weights`` exist only after the last step; ``interrupted`` is the number of the signal that ended training."""

    folder: Path
    weights: Path | None
    interrupted: int | None


def build(experiment: Experiment) -> DetectionTraining:
    """Model, data and losses of an experiment; the weights start from its seed."""
    training = experiment.training
    if training.threads is not None:
        torch.set_num_threads(training.threads)
    lightning.seed_everything(training.seed, verbose=False)
    model: Any = entry(experiment.model).make(model_settings(experiment))
    if experiment.start_from is not None:
        warm_start(model, experiment.start_from, experiment.reinitialise_head)
    if model.task == "places":
        return PlaceTraining(experiment, model, *_places(experiment))
    schedule, plain = _augmentation(experiment, model)
    train = Augmented(Pool(experiment.data.train, "data.train"), schedule, training.seed)
    checked = experiment.data.validate
    validate = Augmented(Pool(checked, "data.validate"), plain) if checked and training.validate_every else None
    modules = {"keypoints": KeypointTraining, "flow": FlowTraining, "trees": TreeTraining}
    return modules.get(model.task, DetectionTraining)(experiment, model, train, validate)


def _augmentation(experiment: Experiment, model: Any) -> tuple[Any, Any]:
    """What is done to samples of training and, where it is not nothing, of validation."""
    if model.task == "flow":
        return FlowAugmentation(experiment.flow_augment), None
    if model.task == "trees":
        settings = experiment.tree_augment
        return TreeAugmentation(settings, model.learns_feet), TreeAugmentation(settings.plain(), model.learns_feet)
    skeleton, epochs = getattr(model, "skeleton", None), experiment.training.epochs
    return build_schedule(experiment.augment, epochs, _label_names(experiment, model), skeleton), None


def _places(experiment: Experiment) -> tuple[Any, Any]:
    """Pairs of recordings for training, and for validation where there is one."""
    data, training, radii = experiment.data, experiment.training, experiment.places.radii
    train = PlacePool(data.train, radii, "data.train")
    checked = PlacePool(data.validate, radii, "data.validate") if data.validate and training.validate_every else None
    drawn = PlacePairsDrawn(train, PlaceAugmentation(experiment.place_augment), training.seed)
    return drawn, None if checked is None else PlacePairsDrawn(checked)


def _label_names(experiment: Experiment, model: Any) -> tuple[str, ...]:
    """What objects that the model learns are called in the labels."""
    return (*model.classes, *(name for name in experiment.classes if name not in model.classes))


def train(experiment: Experiment, folder: Path, resume: bool = False, command: str = "") -> Outcome:
    """Train and leave in ``folder``: logs, ``last.ckpt``, ``final.safetensors`` and, with validation, the best weights.

    ``resume`` continues from ``last.ckpt`` and ends with the weights that an uninterrupted run ends with. Processes
    started by torchrun share the batches. Raises PerceptionError for settings, data or checkpoints that do not work.
    """
    state = folder / STATE
    if state.exists() and not resume:
        raise PerceptionError(f"{folder} holds an earlier run", "a new folder", "add --resume, or choose another --out")
    checkpoint = read_checkpoint(state) if resume else None
    if checkpoint is not None:
        check_resumable(checkpoint, experiment, state)
    module = build(experiment)
    if checkpoint is not None:
        load_state(module, checkpoint["state_dict"])
    folder.mkdir(parents=True, exist_ok=True)
    if os.environ.get("RANK", "0") == "0":
        with write_atomically(folder / "experiment.yaml", "w") as file:
            yaml.safe_dump(to_plain(experiment), file, sort_keys=False)
    pool: Any = module.train_data.samples
    card = _card(experiment, describe_frames(pool.frames()), command)
    training = experiment.training
    saver = SaveState(folder, training.checkpoint_minutes, training.checkpoint_steps)
    averaging = [Averaging(training.average)] if training.average is not None else []
    sparsity = [TwoOfFour(training.two_of_four)] if training.two_of_four is not None else []
    # States hold the average, and the weights behind the sparse ones, of their own step.
    callbacks: list[Any] = [*averaging, *sparsity, saver, SaveWeights(folder, card)]
    if training.picture_every:
        callbacks.append(Pictures(folder, module.validation_data or Augmented(pool), training.picture_every))
    callbacks.append(RichProgressBar() if sys.stderr.isatty() else PlainProgress())
    with warnings.catch_warnings():
        for text in _IRRELEVANT:
            warnings.filterwarnings("ignore", text)
        _trainer(module, folder, callbacks).fit(module, ckpt_path=state if resume else None)
    return Outcome(folder, None if saver.stopped else folder / FINAL, saver.interrupted if saver.stopped else None)


def _card(experiment: Experiment, frames: str, command: str) -> Card:
    """With the recordings and the licence of the weights that training started from: theirs bind these as well."""
    licence = "that of the training data"
    if experiment.start_from is None:
        return Card(frames, licence=licence, command=command)
    begun = read_tensors(experiment.start_from)[0].card
    told = begun.licence and begun.licence != licence
    return Card(
        "; ".join(filter(None, (begun.trained_on, frames))),
        licence=f"{licence}, and of the weights begun with: {begun.licence}" if told else licence,
        command=command,
    )


def _trainer(module: DetectionTraining, folder: Path, callbacks: list[Any]) -> lightning.Trainer:
    training = module.experiment.training
    local, world = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), int(os.environ.get("WORLD_SIZE", 1))
    every = EpochBatches(len(module.train_data), training.batch_size, 1, 0, world=world).per_epoch
    if world == local and Path("/sys/class/net/lo").exists():
        # Processes of one machine then meet whatever its name resolves to and its firewall forbids.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    return lightning.Trainer(
        max_epochs=1,  # the stream of batches runs through all epochs
        accelerator="auto",
        devices=local,
        num_nodes=max(world // local, 1),
        strategy="ddp" if world > 1 else "auto",
        precision=training.precision,
        gradient_clip_val=training.gradient_clip,
        accumulate_grad_batches=training.accumulate,
        check_val_every_n_epoch=None,
        val_check_interval=every * max(training.validate_every, 1),
        limit_val_batches=None if module.validation_data is not None else 0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        log_every_n_steps=10,
        logger=_loggers(folder),
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=folder,
    )


def _loggers(folder: Path) -> list[Logger]:
    loggers: list[Logger] = [CSVLogger(folder, name="logs")]
    if importlib.util.find_spec("tensorboard") is not None:
        loggers.append(TensorBoardLogger(folder, name="logs"))
    return loggers
