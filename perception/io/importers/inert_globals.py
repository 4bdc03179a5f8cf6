"""What pickles of published checkpoints name besides tensors: numbers of numpy, and run logs as inert stand-ins.

Nothing of mmengine is imported or run: its objects are read into ``Inert``, and a request for a function's attribute
gives nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class Inert:
    """An object of another library, read as its bare attributes and never used."""

    def __new__(cls, *arguments: Any, **named: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _nothing(*arguments: Any) -> None:
    return None


LOGS = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "mmengine.logging.message_hub.MessageHub",
    "mmengine.config.config.ConfigDict",
)


def allowed_globals() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """For ``torch.serialization.safe_globals``: numbers and arrays of numpy under its old and new module names."""
    scalar: Any = np.float64().__reduce__()[0]  # asked of numpy itself: the module that has them was renamed
    rebuild: Any = np.zeros(1).__reduce__()[0]
    allowed: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [np.dtype, np.ndarray]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        allowed += [(scalar, f"{module}.scalar"), (rebuild, f"{module}._reconstruct")]
    allowed += [type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u4", "u8", "?", "U")]
    allowed += [(Inert, name) for name in LOGS]
    return [*allowed, (_nothing, "builtins.getattr")]
