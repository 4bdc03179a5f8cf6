"""Compilation of loops in numba: at the first call, kept on disk wherever a folder can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """``numba.njit`` that frees the interpreter lock and caches beside the source, or in the user's cache folder.

    Where neither can be written, as in a container with a read-only file system, numba refuses at import to cache;
    then each process compiles for itself.
    """
    try:
        return cast(F, njit(cache=True, nogil=True)(function))
    except RuntimeError:
        return cast(F, njit(nogil=True)(function))
