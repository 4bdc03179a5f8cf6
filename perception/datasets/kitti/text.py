"""Text files of KITTI: read whole, but never more than such a file can reasonably hold."""

from __future__ import annotations

from pathlib import Path

from perception.errors import PerceptionError

MEGABYTE = 1 << 20


def read_text(path: str | Path, what: str, limit: int = MEGABYTE) -> str:
    """The text of ``path``; ``what`` names the expected content in errors, ``limit`` is the largest size in bytes."""
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > limit:
            raise PerceptionError(
                f"{path} has {size:,} bytes", f"{what} of at most {limit:,} bytes", "check that it is the right file"
            )
        with path.open("rb") as handle:
            content = handle.read(limit + 1)
    except FileNotFoundError:
        raise PerceptionError(f"no file {path}", what, "check the folder, or download the missing archive") from None
    except OSError as error:
        raise PerceptionError(f"{path} cannot be read: {error.strerror or error}", what) from None
    try:
        return content[:limit].decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PerceptionError(
            f"{path} is not text", what, "it may be damaged or another kind of file: download it again"
        ) from None
