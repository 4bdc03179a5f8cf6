"""Scans through a model one after the other: read ahead, in batches, and one bad file never costs the others."""

from __future__ import annotations

import argparse
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.console import Console

from perception.commands.inputs import Input
from perception.commands.scan_input import Scan
from perception.errors import PerceptionError


def add_mounting(parser: argparse.ArgumentParser) -> None:
    """The option whether a scan is brought to the model's height."""
    parser.add_argument(
        "--mounting",
        choices=("auto", "keep"),
        default="auto",
        help="auto: where the ground is 0.4 m or more from the height at which the model knows it, the cloud is moved "
        "for the model, and what is found is moved back; keep: coordinates are the model's; default: %(default)s",
    )


def mounting_note(scan: Scan) -> str:
    """What was done about the sensor's height, for the user."""
    lift = scan.mounting.lift
    return f", ground moved {'up' if lift > 0 else 'down'} {abs(lift):.2f} m for the model" if lift else ""


class ScanJob(Protocol):
    """What a command does with each file: ``write`` answers a line for the user."""

    def read(self, item: Input) -> Scan: ...

    def run(self, scans: Sequence[Scan]) -> list[Any]: ...

    def write(self, scan: Scan, found: Any) -> str: ...


def scan_outcomes(job: ScanJob, items: Sequence[Input], size: int) -> Iterator[tuple[Input, str | PerceptionError]]:
    """A line or an error for each input, in order, ``size`` of them in a batch."""
    with ThreadPoolExecutor(1) as reader:
        waiting = deque[tuple[Input, Future[Scan]]]()
        coming = iter(items)
        for item in itertools.islice(coming, 2 * size):
            waiting.append((item, reader.submit(job.read, item)))
        while waiting:
            batch = [waiting.popleft() for _ in range(min(size, len(waiting)))]
            outcomes = _batch_outcomes(job, batch)
            for item in itertools.islice(coming, len(batch)):
                waiting.append((item, reader.submit(job.read, item)))
            yield from outcomes


def _batch_outcomes(
    job: ScanJob, batch: Sequence[tuple[Input, Future[Scan]]]
) -> list[tuple[Input, str | PerceptionError]]:
    """A batch that cannot be worked on as one is taken apart, so that one bad cloud does not cost the others."""
    outcomes: dict[Input, str | PerceptionError] = {}
    scans = []
    for item, future in batch:
        error = future.exception()
        if isinstance(error, PerceptionError):
            outcomes[item] = error
        else:
            scans.append(future.result())
    groups = [scans] if scans else []
    while groups:
        group = groups.pop()
        try:
            found = job.run(group)
            for scan, one in zip(group, found):
                outcomes[scan.item] = job.write(scan, one)
        except PerceptionError as problem:
            if len(group) > 1:
                groups += [[scan] for scan in group]
            else:
                outcomes[group[0].item] = problem
    return [(item, outcomes[item]) for item, _ in batch]


def summarise(
    console: Console,
    errors: Console,
    out: Path,
    items: Sequence[Input],
    failures: Sequence[tuple[Input, PerceptionError]],
) -> None:
    """How many were done, and what failed."""
    console.print(f"{len(items) - len(failures)} of {len(items)} clouds done, results in {out}", markup=False)
    for item, error in failures:
        errors.print(f"failed: {item.path}\n  {error}", markup=False)


def device_of(name: str) -> torch.device:
    """The device that ``--device`` names; ``auto`` is a GPU if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise PerceptionError(f"--device {name}", "cpu, cuda or cuda:NUMBER") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise PerceptionError(f"--device {name}, but torch sees no CUDA GPU", "a GPU and a CUDA build of torch")
    return device
