"""The first look at an input file: does it exist, may it be read, how long is it, how does it begin."""

from __future__ import annotations

import os
from pathlib import Path

from perception.errors import PerceptionError

PathLike = str | os.PathLike[str]


def checked_file(path: PathLike) -> tuple[Path, int]:
    """The path and the size in bytes of a readable, non-empty, ordinary file; PerceptionError otherwise."""
    path = Path(path)
    try:
        if path.is_dir():
            raise PerceptionError(f"{path} is a folder", "a point cloud file", "name one file inside it")
        size = path.stat().st_size
        if not path.is_file():  # before opening: a pipe would wait for a writer
            raise PerceptionError(f"{path} is not an ordinary file", "a point cloud file", "copy its content to a file")
        with open(path, "rb"):
            pass
    except FileNotFoundError:
        raise PerceptionError(f"no file {path}", "an existing point cloud file", "check the path") from None
    except PermissionError:
        raise PerceptionError(f"no permission to read {path}", "a readable file", "change its permissions") from None
    except (OSError, ValueError) as error:
        raise PerceptionError(f"{path} cannot be opened: {error}", "a readable file") from None
    if size == 0:
        raise PerceptionError(
            f"{path} is empty (0 bytes)", "a point cloud file", "record, copy or download the file again"
        )
    return path, size


def first_bytes(path: Path, count: int) -> bytes:
    """At most the first ``count`` bytes of the file."""
    try:
        with open(path, "rb") as file:
            return file.read(count)
    except OSError as error:
        raise PerceptionError(f"{path} cannot be read: {error.strerror}", "a readable file") from None


def truncated(path: Path, what: str, needed: int, present: int) -> PerceptionError:
    """The error for a file that ends before the content its header announces."""
    return PerceptionError(
        f"{path} is cut short: {what} need {needed:,} bytes, {present:,} are there",
        "a whole file",
        "copy or download the file again",
    )
