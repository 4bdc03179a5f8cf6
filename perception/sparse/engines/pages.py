"""Memory for large results in large pages.

The system hands out new memory in pages of 4 kB, each at its first touch: for features of a hundred thousand voxels
that takes a fifth of a network's time. On Linux it can be asked for pages of 2 MB; elsewhere nothing changes.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable

import torch
from torch import Tensor

LARGE = 1 << 23
PAGE = 1 << 21
_MADV_HUGEPAGE = 14


def empty(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """``torch.empty`` on the CPU."""
    made = torch.empty(shape, dtype=dtype)
    size = made.numel() * made.element_size()
    advise = _advise() if size >= LARGE else None
    if advise is not None:
        start = -(-made.data_ptr() // PAGE) * PAGE
        stop = (made.data_ptr() + size) // PAGE * PAGE
        advise(start, stop - start, _MADV_HUGEPAGE)  # a wish: whether it is granted changes no result
    return made


@functools.cache
def _advise() -> Callable[[int, int, int], int] | None:
    if sys.platform != "linux":
        return None
    try:
        function = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    function.restype = ctypes.c_int
    found: Callable[[int, int, int], int] = function
    return found
