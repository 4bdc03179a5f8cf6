"""Rows of numbers written as text, as ASCII PCD and PLY files have them, read without a loop over points."""

from __future__ import annotations

import math
from pathlib import Path
from typing import IO

import numpy as np

from perception.errors import PerceptionError
from perception.io.source import truncated


def read_text_rows(path: Path, file: IO[bytes], rows: int, layout: np.dtype, remaining: int) -> np.ndarray:
    """``rows`` lines of ``file`` as records (rows,) of ``layout``.

    Coordinates come as float64 whatever their declared type: text may hold more digits than the type it came from.
    ``remaining`` is how many bytes the file has left: a row count that cannot fit is refused before any allocation.
    """
    fields = [(name, layout[name].base, layout[name].shape) for name in layout.names or ()]
    width = sum(math.prod(shape) for _, _, shape in fields)
    if rows * 2 * width - 1 > remaining:
        raise truncated(path, f"{rows:,} rows of {width} numbers", rows * 2 * width - 1, remaining)
    if rows == 0:
        return np.zeros(0, layout)
    double = np.dtype(np.float64)
    # Integers of 8 bytes do not fit a float64; everything else does, and numbers such as "1.0" for an integer pass.
    parsed = np.dtype([(n, kind if kind.kind in "iu" and kind.itemsize == 8 else double, s) for n, kind, s in fields])
    try:
        values = np.loadtxt(file, dtype=parsed, comments=None, max_rows=rows, encoding="latin1", ndmin=1)
    except (ValueError, OverflowError, MemoryError) as error:
        raise PerceptionError(
            f"{path}: a row that is not {width} numbers ({error})",
            "one row a point, numbers separated by blanks",
            "copy the file again, or correct the row",
        ) from None
    if len(values) < rows:
        raise PerceptionError(f"{path} holds {len(values):,} rows", f"{rows:,}, as its header says", "copy it again")
    wanted = np.dtype([(n, double if n.lower() in ("x", "y", "z") else kind, s) for n, kind, s in fields])
    result = np.empty(rows, wanted)
    for name in wanted.names or ():
        result[name] = _cast(path, name, values[name], wanted[name].base)
    return result


def _cast(path: Path, name: str, values: np.ndarray, kind: np.dtype) -> np.ndarray:
    if kind.kind in "iu" and values.dtype.kind == "f" and values.size:
        limits = np.iinfo(kind)
        if not (np.isfinite(values).all() and values.min() >= limits.min and values.max() <= limits.max):
            raise PerceptionError(
                f"{path}: values of {name!r} outside of {kind}", f"{limits.min} to {limits.max}", "correct its type"
            )
    with np.errstate(over="ignore"):
        return values.astype(kind)
