"""builtin_interfaces/Time, whole nanoseconds and seconds."""

from __future__ import annotations

from typing import Any


def nanoseconds_of(stamp: Any) -> int:
    """Whole nanoseconds since 1970 (or the start of a simulation)."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def seconds_of(stamp: Any) -> float:
    """Seconds, exact to a quarter of a microsecond for dates of today."""
    return int(stamp.sec) + int(stamp.nanosec) * 1e-9


def parts_of(nanoseconds: int) -> tuple[int, int]:
    """``sec`` and ``nanosec`` of a stamp."""
    return divmod(int(nanoseconds), 1_000_000_000)
