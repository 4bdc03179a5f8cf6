"""From what a user types to the files that are meant, and the folder that results go to."""

from __future__ import annotations

import glob
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perception.errors import PerceptionError

SUFFIXES = (".bin", ".pcd", ".ply", ".las", ".laz", ".npy", ".npz", ".feather")


@dataclass(frozen=True)
class Input:
    """A file and the name that its results get, without suffix, unlike that of any other input."""

    path: Path
    name: str


def find_inputs(arguments: Sequence[str]) -> list[Input]:
    """Files named, files in folders (by suffix, sorted, with subfolders) and matches of globs; each file once."""
    paths: list[Path] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            if not found:
                raise PerceptionError(
                    f"no point clouds in the folder {path}", f"files ending in {', '.join(SUFFIXES)}", "check the path"
                )
        elif glob.has_magic(argument) and not path.exists():
            found = sorted(Path(p) for p in glob.glob(argument, recursive=True))
            if not found:
                raise PerceptionError(f"nothing matches {argument!r}", "a pattern that files match", "check the path")
        else:
            found = [path]  # a missing file fails when it is read, beside those that do not
        paths += found
    paths = list(dict.fromkeys(paths))
    return [Input(path, name) for path, name in zip(paths, _names(paths))]


def _names(paths: Sequence[Path]) -> list[str]:
    """The stem where it is unlike the others, else with as much of the path as it takes."""
    stems = [path.stem.removesuffix(".pcd").removesuffix(".copc") for path in paths]
    parents = [f"{path.absolute().parent.name}_{stem}" for path, stem in zip(paths, stems)]
    whole = ["_".join([*path.absolute().parts[1:-1], path.name]) for path in paths]
    names = stems
    for longer in (parents, whole):
        count = Counter(names)
        names = [name if count[name] == 1 else long for name, long in zip(names, longer)]
    return names


def output_folder(path: Path) -> Path:
    """Make the folder and prove that it can be written to, before any work is done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise PerceptionError(
            f"the output folder {path} cannot be written to: {reason}",
            "a folder you may write to",
            "choose another --out",
        ) from None
    return path
