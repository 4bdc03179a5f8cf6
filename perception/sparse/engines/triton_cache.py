"""The file of tuned tile sizes: one for each GPU model and Triton version, in the user's cache folder."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch

from perception.errors import PerceptionError
from perception.io.files import write_atomically

FOLDER = "PERCEPTION_CACHE"
# Bounds of what a file may ask for: rows, depth, columns, warps, stages. A larger program would not compile.
_LARGEST = (256, 256, 256, 32, 8)
_LARGEST_FILE = 1_000_000

Sizes = tuple[int, int, int, int, int]


def cache_file(device: torch.device) -> Path:
    """Where the sizes of this device lie: in the folder that PERCEPTION_CACHE names, else in the user's cache."""
    folder = os.environ.get(FOLDER)
    if folder is None:
        folder = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "perception")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    model = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
    return Path(folder) / f"triton-{importlib.metadata.version('triton')}_{model}.json"


def tuned(device: torch.device) -> Mapping[str, Sizes]:
    """The sizes found by ``tune`` on this GPU model, by key of the shape; read once in a process."""
    return _read_once(device)


@functools.cache
def _read_once(device: torch.device) -> Mapping[str, Sizes]:
    return read(cache_file(device))


def read(path: Path) -> dict[str, Sizes]:
    """What the file holds; nothing where there is none. A broken one is left out with a warning: it is only a cache."""
    try:
        with open(path, encoding="utf-8") as handle:
            content = json.loads(handle.read(_LARGEST_FILE))
        return {str(name): _checked(sizes) for name, sizes in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        warnings.warn(f"{path} is left out, the defaults are used: {error}; delete it or tune again", stacklevel=2)
        return {}


def save(device: torch.device, found: Mapping[str, Sizes]) -> Path:
    """Add the sizes to the device's file, whole or not at all, and use them from now on in this process.

    Of two processes that save at once the later one wins. Raises PerceptionError where the folder cannot be written.
    """
    path = cache_file(device)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PerceptionError(
            f"{path.parent} cannot be created: {error.strerror}", "a writable folder", f"set {FOLDER} to one"
        ) from error
    content = {**read(path), **found}
    with write_atomically(path, "w") as handle:
        json.dump(content, handle, indent=1, sort_keys=True)
    _read_once.cache_clear()
    return path


def _checked(sizes: object) -> Sizes:
    if not isinstance(sizes, list) or len(sizes) != len(_LARGEST):
        raise ValueError(f"{sizes!r} is no list of {len(_LARGEST)} numbers")
    for place, (size, largest) in enumerate(zip(sizes, _LARGEST)):
        power = place == len(_LARGEST) - 1 or (isinstance(size, int) and size & (size - 1) == 0)
        least = 16 if place < 3 else 1
        if type(size) is not int or not least <= size <= largest or not power:
            raise ValueError(f"{sizes!r} are no sizes of tiles")
    rows, depth, columns, warps, stages = sizes
    return rows, depth, columns, warps, stages
