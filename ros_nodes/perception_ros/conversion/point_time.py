"""When each point was measured, whatever a driver calls it and counts it in."""

from __future__ import annotations

import numpy as np

# Ouster: t, uint32 ns from the start of the scan. Velodyne: time, float32 s from the stamp. Hesai, Robosense:
# timestamp, float64 s since 1970. Livox: timestamp, float64 ns since 1970; offset_time, uint32 ns.
TIME_FIELDS = ("t", "time", "timestamp", "time_stamp", "timeStamp", "offset_time", "time_offset")
FIELD = "point_time"

_NANOSECONDS_FROM = 1e17  # 1973 in nanoseconds, the year 5138 in microseconds
_MICROSECONDS_FROM = 1e14
_SECONDS_FROM = 1e8  # 1973; below it a number is relative


def relative_seconds(values: np.ndarray, stamp: float) -> np.ndarray:
    """Seconds (N,) float32 from ``stamp`` (seconds since 1970) to each point.

    Whole numbers are nanoseconds. Numbers as large as a date count from 1970, in the unit that their size tells.
    """
    whole = values.dtype.kind in "iu"
    largest = float(np.max(np.abs(values), initial=0.0, where=np.isfinite(values)))
    times = values.astype(np.float64)
    if largest >= _NANOSECONDS_FROM:
        return _since(times * 1e-9, stamp)
    if largest >= _MICROSECONDS_FROM:
        return _since(times * 1e-6, stamp)
    if whole:
        return (times * 1e-9).astype(np.float32)
    if largest >= _SECONDS_FROM:
        return _since(times, stamp)
    return times.astype(np.float32)


def _since(seconds: np.ndarray, stamp: float) -> np.ndarray:
    return (seconds - stamp).astype(np.float32)
