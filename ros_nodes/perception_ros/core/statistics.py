"""Rates and latencies over the last seconds."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Summary:
    """``rate`` per second; percentiles in milliseconds, NaN where nothing was measured; ``number`` of measurements."""

    rate: float
    p50: float
    p95: float
    p99: float
    largest: float
    number: int


class Window:
    """Durations of the last ``seconds``, at most ``most`` of them. Safe between threads."""

    def __init__(self, seconds: float = 10.0, most: int = 2000) -> None:
        self.seconds = seconds
        self._entries: deque[tuple[float, float]] = deque(maxlen=most)
        self._lock = threading.Lock()

    def add(self, now: float, duration: float) -> None:
        """A ``duration`` in seconds, measured at ``now`` on a clock that only goes forward."""
        with self._lock:
            self._entries.append((now, duration))

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def summary(self, now: float) -> Summary:
        with self._lock:
            recent = [(t, d) for t, d in self._entries if now - t <= self.seconds]
        if not recent:
            return Summary(0.0, np.nan, np.nan, np.nan, np.nan, 0)
        milliseconds = np.array([d for _, d in recent]) * 1e3
        p50, p95, p99 = np.percentile(milliseconds, [50, 95, 99])
        # From first to last, n - 1 periods; the pause since the last one lowers the rate once it is longer than one.
        first, last = recent[0][0], recent[-1][0]
        span = max(last - first, (now - first) * (len(recent) - 1) / len(recent))
        rate = (len(recent) - 1) / span if span > 0 else 0.0
        return Summary(rate, float(p50), float(p95), float(p99), float(milliseconds.max()), len(recent))
