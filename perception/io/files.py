"""Files that are whole or absent: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Literal, overload

from perception.errors import PerceptionError

PathLike = str | os.PathLike[str]


@overload
def write_atomically(path: PathLike, mode: Literal["wb"] = "wb") -> AbstractContextManager[IO[bytes]]: ...
@overload
def write_atomically(path: PathLike, mode: Literal["w"]) -> AbstractContextManager[IO[str]]: ...


@contextlib.contextmanager
def write_atomically(path: PathLike, mode: Literal["wb", "w"] = "wb") -> Iterator[IO[Any]]:
    """A handle whose content appears at ``path`` only when the block ends without an exception.

    ``mode`` is "wb" (bytes) or "w" (UTF-8 text with plain newlines). An existing file is replaced in one step; after an
    exception, KeyboardInterrupt included, it is as it was and nothing else is left in the folder. The handle is
    readable and seekable. Raises PerceptionError where the folder is missing, unwritable or full.
    """
    path = Path(path)
    if mode not in ("wb", "w"):
        raise PerceptionError(f"mode {mode!r}", '"wb" for bytes or "w" for text')
    if path.is_dir():
        raise PerceptionError(f"{path} is a folder", "the name of a file to write", "add a file name")
    # A link stays a link: the file it points to is the one replaced.
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.part")  # a name nobody else uses
    try:
        # Within the try, since an interrupt may come between making the file and knowing its handle.
        with _open_new(temporary, target, mode) as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):  # not the block's other files
            raise _cannot_write(path, error) from error
        raise
    _sync_folder(target.parent)


def _open_new(temporary: Path, path: Path, mode: str) -> IO[Any]:
    """A new file with the permissions that any new file gets; errors name ``path``, which it is for."""
    try:
        if mode == "wb":
            return open(temporary, "x+b")
        return open(temporary, "x+", encoding="utf-8", newline="\n")
    except OSError as error:
        raise _cannot_write(path, error) from error


def _sync_folder(folder: Path) -> None:
    """The rename itself survives a power cut only once the folder is on the disk; not every system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _cannot_write(path: Path, error: OSError) -> PerceptionError:
    fix = "choose another folder, or change its permissions"
    if isinstance(error, FileNotFoundError):
        fix = f"create the folder {path.parent} first"
    elif isinstance(error, NotADirectoryError):
        fix = f"{path.parent} is not a folder: correct the path"
    elif error.errno == errno.ENOSPC:
        fix = "free space on the disk"
    return PerceptionError(f"{path} cannot be written: {error.strerror or error}", "a writable place", fix)
