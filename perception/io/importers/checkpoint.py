"""Foreign checkpoint files: opened without running anything in them, and damaged or other files said to be so."""

from __future__ import annotations

import pickle
import re
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.io.importers.inert_globals import allowed_globals
from perception.io.importers.omegaconf_globals import omegaconf_globals
from perception.io.importers.segmentanytree.importer import latest_weights

WEIGHTS = ("model_state", "state_dict", "model", "model_state_dict", "net")
PICKLE_HEADS = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """``tensors`` of the model by their foreign keys, and everything that was saved beside them as ``extra``."""

    path: Path
    tensors: Mapping[str, Tensor]
    extra: Mapping[str, Any] = field(default_factory=dict)


def open_checkpoint(path: str | Path) -> Checkpoint:
    """The model's tensors in a file that ``torch.save`` wrote; a PerceptionError says what else the file is."""
    path = Path(path)
    content = _load(path)
    if not isinstance(content, Mapping):
        raise PerceptionError(f"{path} holds a {type(content).__name__}", "a checkpoint: a mapping with weights")
    named = next((content[name] for name in WEIGHTS if isinstance(content.get(name), Mapping)), content)
    state = latest_weights(content) or named
    tensors = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        names = ", ".join(map(str, list(content)[:8])) or "nothing"
        raise PerceptionError(
            f"{path} holds {names}, but no tensors under {' or '.join(WEIGHTS[:2])}",
            "a checkpoint with the weights of a model",
            "take the file of the weights; one of the optimiser's state alone cannot be imported",
        )
    if all(key.startswith("module.") for key in tensors):  # saved from inside DistributedDataParallel
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    extra = {} if state is content else {key: value for key, value in content.items() if value is not state}
    return Checkpoint(path, tensors, extra)


def _load(path: Path) -> Any:
    if not path.is_file():
        what = f"{path} is a folder" if path.is_dir() else f"no file {path}"
        raise PerceptionError(what, "a checkpoint file (.pth)")
    _refuse_other_files(path)
    kept = torch.serialization.get_safe_globals()
    try:
        with torch.serialization.safe_globals([*allowed_globals(), *omegaconf_globals()]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _unpickling(path, str(error)) from None
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PerceptionError(
            f"{path} cannot be opened as a checkpoint: {reason}", "a file that torch.save wrote", "download it again"
        ) from None
    finally:
        torch.serialization.add_safe_globals(kept)  # torch takes away what others had allowed before, too


def _unpickling(path: Path, message: str) -> PerceptionError:
    named = re.search(r"(?:GLOBAL|class|function|global)\s+`?([\w.]+\.[\w.]+)", message)
    if named and "allowed" in message:
        return PerceptionError(
            f"{path} cannot be opened as a checkpoint: it asks to run or build {named[1]}",
            "tensors, numbers and text; code in a checkpoint is never run",
            "in the framework that wrote it, save the weights alone: torch.save(model.state_dict(), file)",
        )
    reason = next((line for line in message.splitlines() if line.strip()), "unreadable")
    return PerceptionError(
        f"{path} cannot be opened as a checkpoint: {reason[:200]}", "a file that torch.save wrote", "download it again"
    )


def _refuse_other_files(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
    found, fix = "", "download it again"
    if size == 0:
        found = "an empty file"
    elif head.startswith(b"PK"):
        found, fix = _kind_of_zip(path, size)
    elif head.startswith(b"\x1f\x8b"):
        found, fix = "a gzip archive", "unpack it and import the checkpoint inside"
    elif head.lstrip().startswith((b"<!", b"<html", b"<HTML")):
        found, fix = "a web page", "the download gave a page in place of the file: download it with a browser"
    elif head.startswith(b"version https:"):
        found, fix = "a Git LFS pointer", "fetch the file itself with `git lfs pull`"
    elif not head.startswith(PICKLE_HEADS) and tarfile.is_tarfile(path):
        found, fix = "a tar archive", "unpack it; checkpoints of torch 0.1 must be saved again with a newer torch"
    if found:
        raise PerceptionError(f"{path} cannot be opened as a checkpoint: it is {found}", "a checkpoint file", fix)


def _kind_of_zip(path: Path, size: int) -> tuple[str, str]:
    """What a file that begins like a zip archive is, or nothing if it is torch's own format."""
    if not zipfile.is_zipfile(path):
        return f"cut short after {size:,} bytes: the end of its archive is missing", "download it again"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        return f"a damaged archive: {error}", "download it again"
    if any(name.endswith("/constants.pkl") for name in names):
        return "a TorchScript program", "import the state_dict that it was made from"
    if any(name.endswith("data.pkl") for name in names):
        return "", ""
    inside = [name for name in names if name.endswith((".pth", ".pt", ".ckpt"))] or names
    return f"a zip archive of {', '.join(inside[:3])}", "unpack it and import the checkpoint inside"
