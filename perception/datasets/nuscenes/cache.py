"""The index of a nuScenes version kept in one .npz file without pickles, for as long as its tables stay as they are."""

from __future__ import annotations

import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np

from perception.datasets.nuscenes.index import NuscenesIndex, build_index
from perception.io.files import write_atomically

_FORMAT = "lidar-perception nuscenes index 1"


def load_index(folder: Path, cache: Path | None = None) -> NuscenesIndex:
    """The index of the tables in ``folder``, from ``cache`` if that was made of these tables, else built and kept."""
    if cache is None:
        return build_index(folder)
    stamp = _stamp(folder)
    index = _read(cache, stamp)
    if index is None:
        index = build_index(folder)
        with write_atomically(cache, "wb") as file:
            np.savez(file, stamp=np.array(stamp), **{f.name: getattr(index, f.name) for f in fields(index)})
    return index


def _read(cache: Path, stamp: str) -> NuscenesIndex | None:
    try:
        with np.load(cache, allow_pickle=False) as arrays:
            if str(arrays["stamp"]) != stamp:
                return None
            return NuscenesIndex(**{f.name: arrays[f.name] for f in fields(NuscenesIndex)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # absent, damaged or of another version of the library: it is built again


def _stamp(folder: Path) -> str:
    tables = sorted(folder.glob("*.json"))
    facts = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in tables]
    return "\n".join([_FORMAT, str(folder.resolve()), *facts])
