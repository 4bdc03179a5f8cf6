"""One comparison of stored numbers with ours, and its verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Check:
    """``difference`` against ``tolerance`` over ``compared`` numbers; ``keys`` are the stored arrays it consumed."""

    name: str
    passed: bool
    difference: float
    tolerance: float
    compared: int
    note: str = ""
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tolerance:
    """Largest difference allowed: ``absolute`` + ``relative`` * |value| + ``of_spread`` * the stage's spread."""

    absolute: float = 0.0
    relative: float = 0.0
    of_spread: float = 0.0


def failed(name: str, note: str, keys: tuple[str, ...] = ()) -> Check:
    return Check(name, False, float("nan"), float("nan"), 0, note, keys)


def close(
    name: str,
    ours: np.ndarray,
    stored: np.ndarray,
    tolerance: Tolerance,
    spread: float = 0.0,
    keys: tuple[str, ...] = (),
    period: Mapping[int, float] | None = None,
) -> Check:
    """Element-wise comparison; ``period`` gives the columns in which values are angles. NaN equals NaN."""
    if ours.shape != stored.shape:
        return failed(name, f"shape {ours.shape} instead of {stored.shape}", keys)
    ours, stored = ours.astype(np.float64), stored.astype(np.float64)
    difference = np.abs(ours - stored)
    for column, length in (period or {}).items():
        turned = difference[:, column] % length
        difference[:, column] = np.minimum(turned, length - turned)
    difference[np.isnan(ours) & np.isnan(stored)] = 0.0
    size = np.where(np.isnan(stored), 0.0, np.abs(stored))
    allowed = tolerance.absolute + tolerance.relative * size + tolerance.of_spread * spread
    passed = bool((difference <= allowed).all())  # a NaN on one side only compares false
    largest = float(difference.max()) if difference.size else 0.0
    bound = float(np.max(allowed)) if np.size(allowed) else 0.0
    return Check(name, passed, largest, bound, int(stored.size), keys=keys)


def equal(name: str, ours: Any, stored: Any, keys: tuple[str, ...] = (), note: str = "") -> Check:
    """Exact comparison of arrays or plain values; the difference counted is the number of unequal entries."""
    ours, stored = np.asarray(ours), np.asarray(stored)
    if ours.shape != stored.shape:
        return failed(name, f"shape {ours.shape} instead of {stored.shape} {note}".rstrip(), keys)
    unequal = int((ours != stored).sum())
    return Check(name, unequal == 0, float(unequal), 0.0, int(stored.size), note, keys)


def root_mean_square(spread: np.ndarray) -> float:
    return float(np.sqrt(np.mean(spread.astype(np.float64) ** 2)))


def coordinates_digest(ordered: np.ndarray) -> str:
    """sha256 of lexicographically sorted coordinates as little-endian int32 in C order."""
    return hashlib.sha256(np.ascontiguousarray(ordered, dtype="<i4").tobytes()).hexdigest()
