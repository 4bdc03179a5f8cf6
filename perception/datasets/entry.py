"""An entry of the catalogue: how a configuration names a data set and makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DatasetEntry:
    """``make`` builds the data set from checked ``options``.

    The samples of data sets for ``task`` "flow" are pairs of scans, for "trees" plots whose points know their tree.
    """

    options: type[Any]
    make: Callable[[Any], Any]
    task: str = "detection"
