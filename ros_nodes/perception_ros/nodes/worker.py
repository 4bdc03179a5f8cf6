"""The thread that computes, beside the one that receives and answers services."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from typing import Generic, TypeVar

from perception.errors import PerceptionError
from perception_ros.core.slot import NewestSlot

T = TypeVar("T")
FAILURES = 3  # unexpected errors in a row, after which a node is not trusted to go on


class Worker(Generic[T]):
    """Calls ``work`` with the newest item and when it came; ``refused`` hears of items that cannot be worked on.

    ``broken`` tells the last error once ``FAILURES`` calls in a row failed unexpectedly; no more is called then.
    """

    def __init__(self, work: Callable[[T, float], None], refused: Callable[[str], None]) -> None:
        self.slot: NewestSlot[tuple[T, float]] = NewestSlot()
        self.broken: str | None = None
        self.failures = 0
        self._work, self._refused = work, refused
        self._thread = threading.Thread(target=self._run, name="perception worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, item: T) -> None:
        self.slot.put((item, time.monotonic()))

    def stop(self, timeout: float = 60.0) -> bool:
        """End after the item at hand; whether the thread is gone."""
        self.slot.close()
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        in_a_row = 0
        while self.broken is None:
            taken = self.slot.take()
            if taken is None:
                return
            try:
                self._work(*taken)
                in_a_row = 0
            except PerceptionError as error:
                self._refused(" ".join(str(error).split()))
            except Exception as error:  # whatever a model or the middleware throws, the robot hears of it
                in_a_row += 1
                self.failures += 1
                self._refused(f"{type(error).__name__}: {error}")
                if in_a_row >= FAILURES:
                    self.broken = traceback.format_exc()
            del taken  # a cloud is not kept while waiting for the next
