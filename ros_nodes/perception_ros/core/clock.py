"""Stamps that jump: bags that start over, clocks that are set, simulations that begin again."""

from __future__ import annotations

from perception_ros.core.poses import SECOND


class StampWatch:
    """Tells stamps that go back by more than ``back`` seconds, or ahead by more than ``leap``, from the usual ones."""

    def __init__(self, back: float = 0.5, leap: float = 10.0) -> None:
        self.back, self.leap = int(back * SECOND), int(leap * SECOND)
        self.jumps = 0
        self._last: int | None = None

    def jumped(self, stamp: int) -> bool:
        """Whether what was known before ``stamp`` (ns) belongs to another time."""
        last, self._last = self._last, stamp
        jumped = last is not None and not last - self.back <= stamp <= last + self.leap
        self.jumps += jumped
        return jumped

    def reset(self) -> None:
        self._last = None
