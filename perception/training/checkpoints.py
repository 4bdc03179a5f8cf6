"""Training states on disk: written whole or not at all, read without running code from the file."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO

from perception.config import to_plain
from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.training.settings import Experiment

KEYS = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "perception")


class AtomicCheckpointIO(CheckpointIO):
    """What lightning saves and reads checkpoints with."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        with write_atomically(path, "wb") as file:
            torch.save(checkpoint, file)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        return read_checkpoint(path)

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A training state, on the CPU. Raises PerceptionError for a file that is missing, damaged or something else."""
    path = Path(path)
    if not path.is_file():
        raise PerceptionError(f"no checkpoint {path}", "a state written by training", "start without --resume")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise PerceptionError(
            f"{path} cannot be read as a checkpoint: {reason}",
            "an undamaged state written by training",
            "start again without --resume, or put back a copy of the file",
        ) from None
    missing = [key for key in KEYS if not isinstance(found, Mapping) or key not in found]
    if missing:
        raise PerceptionError(
            f"{path} holds no {', '.join(missing)}",
            "a state written by training here",
            "weights of other programs are read by `perception import`",
        )
    return dict(found)


def check_resumable(checkpoint: Mapping[str, Any], experiment: Experiment, path: str | Path) -> None:
    """Whether going on with a state under these settings repeats what an uninterrupted run would have done.

    Raises PerceptionError that names the settings that differ; those that do not change the outcome may.
    """
    free = {f"training.{name}" for name in ("workers", "threads", "checkpoint_minutes", "checkpoint_steps")}
    free |= {"training.picture_every", "training.validate_every"}
    before, now = _flat(checkpoint["perception"]["experiment"]), _flat(to_plain(experiment))
    changed = {
        key
        for key in before.keys() | now.keys()
        if before.get(key) != now.get(key) and key not in free and not key.endswith("options.root")
    }
    if changed:
        shown = "; ".join(f"{key}: {before.get(key)} then, {now.get(key)} now" for key in sorted(changed)[:5])
        raise PerceptionError(
            f"{path} was trained with other settings ({shown})",
            "the same experiment",
            "use the settings of the start, or another --out folder for a new run",
        )


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(values, Mapping):
        items = [(f"{prefix}.{key}" if prefix else str(key), value) for key, value in values.items()]
    elif isinstance(values, (list, tuple)) and any(isinstance(v, Mapping) for v in values):
        items = [(f"{prefix}.{number}", value) for number, value in enumerate(values)]
    else:
        return {prefix: values}
    return {key: value for name, below in items for key, value in _flat(below, name).items()}
