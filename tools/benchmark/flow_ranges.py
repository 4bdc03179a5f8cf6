#!/usr/bin/env python3
"""How time and memory of the models of scene flow grow with the range, SSF's sparse voxels beside DeFlow's dense map.

One made pair of scans as a long-range lidar sees it, ground left out: things of 40 points each, whose density falls
with the distance, so each doubling of the range adds fewer points than the one before. Times are the processor's, not
the clock's: other work on the machine disturbs them less. Every case runs in a process of its own, whose
peak memory beyond that of the loaded library is what counts, and which may not have more than --memory. Voxels
measure 0.2 m throughout; weights are random.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Timing, write_figures
from rich.console import Console
from rich.table import Table

from perception.flow_pipeline import perceive_flow
from perception.models.catalogue import MODELS
from perception.points import PointCloud
from perception.scan_pair import ScanPair

RANGES = (51.2, 102.4, 204.8, 409.6)
TYPICAL_DISTANCE = 60.0
POINTS_OF_THING = 40
THING_SIZE = 0.8
"""Metres of standard deviation."""
GIGABYTE = 2**30


@dataclass(frozen=True)
class Case:
    """``error`` says why there are no figures; ``memory_gb`` is the peak beyond the loaded library's."""

    model: str
    reach: float
    points: int
    time: Timing | None = None
    memory_gb: float | None = None
    error: str | None = None


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    table = Table("model", "range, m", "points in range", "processor ms a pair", "memory, GB")
    for column in table.columns[1:]:
        column.justify = "right"
    cases = []
    for reach in options.ranges:
        for name in options.models:
            case = _in_own_process(name, reach, options)
            cases.append(case)
            figures = (case.error, "") if case.time is None else (str(case.time), f"{case.memory_gb:.2f}")
            table.add_row(name, f"{reach:g}", f"{case.points:,}", *figures)
            console.print(f"{name} at {reach:g} m: {' | '.join(str(figure) for figure in figures if figure)}")
    console.print(table)
    if options.out:
        write_figures(options.out, {"threads": options.threads, "cases": [asdict(case) for case in cases]})
    return 0


def made_pair(count: int, seed: int = 0) -> ScanPair:
    """Two scans of ``count`` points each of the same things, whose distances are exponential."""
    random = np.random.default_rng(seed)
    things = max(count // POINTS_OF_THING, 1)
    distance, angle = random.exponential(TYPICAL_DISTANCE, things) + 2, random.uniform(-np.pi, np.pi, things)
    place = np.stack([distance * np.cos(angle), distance * np.sin(angle), np.zeros(things)], 1)
    spread = np.array([THING_SIZE, THING_SIZE, 0.6])
    scans = []
    for _ in range(2):
        points = place[np.arange(count) % things] + spread * random.normal(size=(count, 3))
        scans.append(PointCloud(points))
    return ScanPair(*scans)


def measure(name: str, reach: float, count: int, threads: int, repeats: int, memory_gb: float) -> Case:
    """Times and memory of one model at one range, in this process, whose memory stays limited."""
    torch.set_num_threads(threads)
    pair = made_pair(count)
    inside = int((np.abs(pair.first.xyz[:, :2]).max(1) < reach).sum())
    box = (-reach, -reach, -3.0, reach, reach, 3.0)
    entry = MODELS[name]
    model = entry.make(replace(entry.defaults, point_range=box)).eval()
    warm = entry.make(replace(entry.defaults, point_range=(-25.6, -25.6, -3.0, 25.6, 25.6, 3.0))).eval()
    perceive_flow(warm, [made_pair(1000)])  # compiled kernels are no memory of this range
    before = _peak()
    resource.setrlimit(resource.RLIMIT_DATA, (int(memory_gb * GIGABYTE), resource.RLIM_INFINITY))
    seconds = []
    try:
        for number in range(repeats + 1):
            start = time.process_time()
            perceive_flow(model, [pair])
            seconds += [time.process_time() - start] if number else []
    except (RuntimeError, MemoryError):  # torch's allocator raises RuntimeError
        return Case(name, reach, inside, error=f"more than {memory_gb:g} GB")
    return Case(name, reach, inside, Timing.of(seconds), (_peak() - before) / GIGABYTE)


def _in_own_process(name: str, reach: float, options: argparse.Namespace) -> Case:
    context: Any = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        arguments = (name, reach, options.count, options.threads, options.repeats, options.memory)
        case: Case = pool.apply(measure, arguments)
    return case


def _peak() -> int:
    """Bytes of the largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    known = [name for name, entry in MODELS.items() if entry.task == "flow"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=known, default=["ssf", "deflow"])
    parser.add_argument("--ranges", nargs="+", type=float, default=RANGES, metavar="METRES")
    parser.add_argument("--count", type=int, default=60_000, help="points of each scan; default: %(default)s")
    parser.add_argument("--memory", type=float, default=14.0, help="gigabytes a case may use; default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="timed pairs of each; default: %(default)s")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
