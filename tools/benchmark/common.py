"""What the benchmarks share: times with their spread, the table of ours beside a peer's, and the file of figures."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from perception.io.files import write_atomically

PACKAGES = ("lidar-perception", "torch", "numpy", "numba")


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one thing over the repeats: the median, and the quartiles as the spread."""

    median_ms: float
    lower_ms: float
    upper_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        lower, median, upper = np.percentile(np.asarray(seconds) * 1e3, [25, 50, 75])
        return cls(float(median), float(lower), float(upper))

    def __str__(self) -> str:
        return f"{self.median_ms:.2f} [{self.lower_ms:.2f}, {self.upper_ms:.2f}]"


@dataclass(frozen=True)
class Row:
    """A stage that one or both sides have. ``ratio`` is the peer's median over ours: above 1, ours is faster."""

    name: str
    ours: Timing | None
    peer: Timing | None = None

    @property
    def ratio(self) -> float | None:
        if self.ours is None or self.peer is None or self.ours.median_ms == 0:
            return None
        return self.peer.median_ms / self.ours.median_ms

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio}


def ratio_table(rows: Sequence[Row], peer: str | None) -> Table:
    """Median [quartiles] of each row; the peer's columns only where there is a peer."""
    table = Table("stage")
    for column in ("ours ms", *((f"{peer} ms", "ratio") if peer else ())):
        table.add_column(column, justify="right")
    for row in rows:
        cells = ["" if row.ours is None else str(row.ours)]
        if peer:
            cells += ["" if row.peer is None else str(row.peer), "" if row.ratio is None else f"{row.ratio:.2f}"]
        table.add_row(row.name, *cells)
    return table


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, and system: what a figure means nothing without."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": _cpu_model(), "cores": cores, "architecture": platform.machine(), "system": platform.system()}


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Of Python and of those packages that are installed."""
    installed = {package: _version(package) for package in packages}
    return {"python": platform.python_version(), **{name: found for name, found in installed.items() if found}}


def write_figures(path: Path, figures: Mapping[str, Any]) -> None:
    """JSON of the figures with the date, the machine and the versions that they were measured with."""
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    report = {"date": date, "machine": machine(), "versions": versions(), **figures}
    with write_atomically(path, "w") as file:
        file.write(json.dumps(report, indent=2) + "\n")


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or "unknown"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
