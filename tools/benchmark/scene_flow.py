#!/usr/bin/env python3
"""Milliseconds a pair of scans of the models of scene flow, stage by stage, on the CPU; with --peer beside another.

Ours and the peer's runs alternate in one process, so that a busy machine slows both; one run of each comes first and
is not timed. The row `pair` is everything from points in memory to the flow of every point. Ratios are the peer's
time over ours. With a peer the flows are compared too, and the exit code is 1 if they differ by more than a
millimetre. Weights are random; times do not depend on them.

Without --scans the scans are made up: --count points each, at a normal distance from the sensor.

A peer is a module on the path with `build(name, model)`: a name of the catalogue and our model, whose numbers it takes
over; it answers a function of two arrays (N, 3) and (M, 3) that gives the flow (N, 3) of the first.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Row, Timing, ratio_table, write_figures
from rich.console import Console

from perception.errors import PerceptionError
from perception.flow_pipeline import perceive_flow
from perception.io.clouds import read_points
from perception.models.catalogue import MODELS
from perception.models.flow_model import FlowModel
from perception.points import PointCloud
from perception.scan_pair import ScanPair
from perception.timing import Stopwatch

Run = Callable[[np.ndarray, np.ndarray], np.ndarray]
SAME_METRES = 1e-3


@dataclass(frozen=True)
class Outcome:
    """``apart``: the largest difference of the flows, metres; None without a peer."""

    name: str
    voxels: int
    rows: list[Row]
    apart: float | None

    def as_dict(self) -> dict[str, Any]:
        rows = [row.as_dict() for row in self.rows]
        return {"model": self.name, "voxels": self.voxels, "apart": self.apart, "rows": rows}


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    torch.set_num_threads(options.threads)
    outcomes = []
    try:
        peer = None if options.peer is None else importlib.import_module(options.peer).build
        for name in options.models:
            torch.manual_seed(0)
            model = MODELS[name].make(MODELS[name].defaults).eval()
            assert isinstance(model, FlowModel)
            pair = _pair(options, model)
            outcome = measure(name, model, pair, None if peer is None else peer(name, model), options.repeats)
            outcomes.append(outcome)
            console.print(f"\n{name}; {len(pair.first):,} + {len(pair.second):,} points, {outcome.voxels:,} voxels")
            console.print(ratio_table(outcome.rows, options.peer))
            if outcome.apart is not None:
                console.print(f"flows at most {outcome.apart:.1e} m apart")
        if options.out:
            write_figures(
                options.out, {"threads": options.threads, "models": [outcome.as_dict() for outcome in outcomes]}
            )
    except (PerceptionError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if any(outcome.apart is not None and outcome.apart > SAME_METRES for outcome in outcomes) else 0


def measure(name: str, model: FlowModel, pair: ScanPair, peer: Run | None, repeats: int) -> Outcome:
    """One pair of ours and one of the peer's in turn; the first round only warms both up."""
    ours: dict[str, list[float]] = defaultdict(list)
    theirs: list[float] = []
    apart = None
    for number in range(repeats + 1):
        watch, start = Stopwatch(), time.perf_counter()
        (found,) = perceive_flow(model, [pair], watch)
        for stage, seconds in {**watch.seconds, "pair": time.perf_counter() - start}.items():
            ours[stage] += [seconds] if number else []
        if peer is not None:
            start = time.perf_counter()
            flow = peer(pair.first.xyz, pair.second.xyz)
            theirs += [time.perf_counter() - start] if number else []
            apart = float(np.abs(found.flow.numpy() - flow).max(initial=0.0))
    rows = [
        Row(stage, Timing.of(seconds), Timing.of(theirs) if theirs and stage == "pair" else None)
        for stage, seconds in ours.items()
    ]
    return Outcome(name, len(model.voxelise(model.points([pair])).coordinates), rows, apart)


def _pair(options: argparse.Namespace, model: FlowModel) -> ScanPair:
    if options.scans:
        first, second = (read_points(path) for path in options.scans)
        return ScanPair(first, second)
    generator, reach = np.random.default_rng(0), model.config.point_range[3]
    scans = []
    for _ in range(2):
        distance = np.abs(generator.normal(0, reach / 2.2, options.count))
        angle = generator.uniform(-np.pi, np.pi, options.count)
        height = generator.uniform(-1.5, 2, options.count)
        scans.append(PointCloud(np.stack([distance * np.cos(angle), distance * np.sin(angle), height], 1)))
    return ScanPair(*scans)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    known = [name for name, entry in MODELS.items() if entry.task == "flow"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=known, default=known, help="default: all")
    parser.add_argument("--scans", nargs=2, type=Path, metavar="FILE", help="two cloud files in one frame")
    parser.add_argument("--count", type=int, default=40_000, help="points of a made-up scan; default: %(default)s")
    parser.add_argument("--peer", metavar="MODULE", help="the other implementation")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=5, help="timed pairs of each; default: %(default)s")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
