"""Levels of diagnostic_msgs/DiagnosticStatus from what a node went through, after a sustained time only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """As diagnostic_msgs/DiagnosticStatus numbers them."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class Limits:
    """Seconds: a result later than ``deadline`` after its cloud's receipt is late; results that stay late, or clouds
    that stay refused, for ``warn_after`` are a warning, for ``error_after`` an error; so are ``silence`` without a
    cloud (a warning) and three times that (an error)."""

    deadline: float = 0.1
    warn_after: float = 1.0
    error_after: float = 5.0
    silence: float = 1.0


class Health:
    """One line on how the node does. ``now`` is on a clock that only goes forward."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.late = 0
        self.refused = 0
        self.problem = ""
        self._cloud = now
        self._late_since: float | None = None
        self._refused_since: float | None = None
        self._started = now
        self._seen = False

    def received(self, now: float) -> None:
        """A cloud arrived."""
        self._cloud, self._seen = now, True

    def finished(self, now: float, duration: float) -> None:
        """A result went out ``duration`` seconds after its cloud arrived."""
        self._refused_since, self.problem = None, ""
        if duration > self.limits.deadline:
            self.late += 1
            self._late_since = now if self._late_since is None else self._late_since
        else:
            self._late_since = None

    def refuse(self, now: float, problem: str) -> None:
        """A cloud could not be worked on."""
        self.refused += 1
        self.problem = problem
        self._refused_since = now if self._refused_since is None else self._refused_since

    def status(self, now: float) -> tuple[Level, str]:
        """The worst that holds, and why."""
        silence = now - self._cloud
        found = [
            self._silence(silence),
            self._sustained(now, self._refused_since, f"clouds are refused: {self.problem}"),
            self._sustained(now, self._late_since, f"results are later than {self.limits.deadline * 1e3:.0f} ms"),
        ]
        level, message = max(found, key=lambda entry: entry[0])
        return (level, message) if level else (Level.OK, "running")

    def _silence(self, silence: float) -> tuple[Level, str]:
        if silence <= self.limits.silence:
            return Level.OK, ""
        level = Level.ERROR if silence > 3 * self.limits.silence else Level.WARN
        seen = "no cloud" if self._seen else "no cloud yet"
        return level, f"{seen} for {silence:.1f} s"

    def _sustained(self, now: float, since: float | None, message: str) -> tuple[Level, str]:
        if since is None or now - since < self.limits.warn_after:
            return Level.OK, ""
        lasted = now - since
        return (Level.ERROR if lasted >= self.limits.error_after else Level.WARN), f"for {lasted:.0f} s {message}"
