#!/usr/bin/env python3
"""Milliseconds a cloud of the models of places, stage by stage, on the CPU; with --peer beside another.

Ours and the peer's runs alternate in one process, so that a busy machine slows both; one run of each comes first and
is not timed. The row `cloud` is everything from points in memory to the descriptor, `query` also finds the nearest of
--places random descriptors. Ratios are the peer's time over ours. With a peer the descriptors are compared too, and the
exit code is 1 if they differ by more than 1e-3. Weights are random; times do not depend on them. --index N measures the
index alone: N made descriptors, built, asked, saved, read back.

A peer is a module on the path with `build(name, model)`: a name of the catalogue and our model, whose numbers it takes
over; it answers a function of points (N, 3) float32, as our model takes them, that gives the descriptor (D,).
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
from perception.io.clouds import read_points
from perception.models.catalogue import MODELS
from perception.models.place_model import PlaceModel
from perception.pipeline import perceive
from perception.places.index import VectorIndex
from perception.points import PointCloud
from perception.timing import Stopwatch

Run = Callable[[np.ndarray], np.ndarray]
SAME = 1e-3
LATENT = 20


@dataclass(frozen=True)
class Outcome:
    """``apart``: the largest difference of the descriptors; None without a peer."""

    name: str
    points: int
    rows: list[Row]
    apart: float | None

    def as_dict(self) -> dict[str, Any]:
        rows = [row.as_dict() for row in self.rows]
        return {"model": self.name, "points": self.points, "apart": self.apart, "rows": rows}


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    torch.set_num_threads(options.threads)
    outcomes, figures = [], {}
    try:
        peer = None if options.peer is None else importlib.import_module(options.peer).build
        for name in options.models:
            torch.manual_seed(0)
            model = MODELS[name].make(MODELS[name].defaults).eval()
            assert isinstance(model, PlaceModel)
            cloud = _cloud(options, model)
            outcome = measure(name, model, cloud, None if peer is None else peer(name, model), options)
            outcomes.append(outcome)
            console.print(f"\n{name}; {outcome.points:,} points")
            console.print(ratio_table(outcome.rows, options.peer))
            if outcome.apart is not None:
                console.print(f"descriptors at most {outcome.apart:.1e} apart")
        if options.index:
            figures = measure_index(options.index, options.size, options.folder)
            for key, value in figures.items():
                console.print(f"{key:48s} {value:12,.3f}")
        if options.out:
            plain = {"threads": options.threads, "models": [o.as_dict() for o in outcomes], "index": figures}
            write_figures(options.out, plain)
    except (PerceptionError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if any(outcome.apart is not None and outcome.apart > SAME for outcome in outcomes) else 0


def measure(name: str, model: PlaceModel, cloud: PointCloud, peer: Run | None, options: argparse.Namespace) -> Outcome:
    """One run of ours and one of the peer's in turn; the first round only warms both up."""
    ours: dict[str, list[float]] = defaultdict(list)
    theirs: list[float] = []
    apart, index = None, None
    for number in range(options.repeats + 1):
        watch, start = Stopwatch(), time.perf_counter()
        (found,) = perceive(model, [cloud], watch)
        described = time.perf_counter()
        vector = found.descriptor.numpy()  # type: ignore[union-attr]
        index = index or VectorIndex(_descriptors(options.places, len(vector)))
        searched = time.perf_counter()
        index.search(vector[None], 5)
        whole = described - start + time.perf_counter() - searched
        for stage, seconds in {**watch.seconds, "cloud": described - start, "query": whole}.items():
            ours[stage] += [seconds] if number else []
        if peer is not None:
            start = time.perf_counter()
            other = peer(cloud.xyz)
            theirs += [time.perf_counter() - start] if number else []
            apart = float(np.abs(vector - other).max())
    rows = [
        Row(stage, Timing.of(seconds), Timing.of(theirs) if theirs and stage == "cloud" else None)
        for stage, seconds in ours.items()
    ]
    return Outcome(name, len(cloud), rows, apart)


def measure_index(count: int, size: int, folder: Path | None) -> dict[str, float]:
    """Seconds to build, milliseconds of a query, how often its nearest is the nearest, and the file."""
    vectors, queries = _descriptors(count, size), _descriptors(200, size, seed=1)
    # Half of the queries are near a place, as revisits are; the others are places that the map has not.
    queries[:100] = vectors[:100] + 0.3 / np.sqrt(size) * np.random.default_rng(2).normal(size=(100, size))
    index, start = VectorIndex(vectors), time.perf_counter()
    index.search(queries[:1], 1)
    figures = {"seconds to build": time.perf_counter() - start, "places": float(count)}
    seconds, rows = [], []
    for query in queries:
        start = time.perf_counter()
        rows.append(index.search(query[None], 5)[0][0])
        seconds.append(time.perf_counter() - start)
    figures |= {f"ms a query, {q} %": 1e3 * float(np.percentile(seconds, q)) for q in (50, 95, 100)}
    exact = np.array([int((vectors @ query - (vectors**2).sum(1) / 2).argmax()) for query in queries])
    right = np.array([row[0] for row in rows]) == exact
    figures["nearest found, revisits, %"] = 100 * float(right[:100].mean())
    figures["nearest found, new places, %"] = 100 * float(right[100:].mean())
    if folder is not None and (stored := index.to_bytes()) is not None:
        start = time.perf_counter()
        VectorIndex.from_bytes(stored, count, size)
        figures["seconds to check and read the graph"] = time.perf_counter() - start
        figures["MB"] = len(stored) / 1e6
    return figures


def _descriptors(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Unit vectors that vary in some twenty directions, as a network's descriptors do, with a little noise in all.

    Vectors that are random in all directions have no near neighbours, and no graph finds its way among them.
    """
    shape, draw = np.random.default_rng(12), np.random.default_rng(seed)
    first, second = (shape.standard_normal(s, np.float32) for s in ((LATENT, 128), (128, size)))
    vectors = np.empty((count, size), np.float32)
    for start in range(0, count, 1 << 16):
        part = vectors[start : start + (1 << 16)]
        hidden = np.tanh(draw.standard_normal((len(part), LATENT), np.float32) @ first / 2)
        part[:] = hidden @ second / np.sqrt(128) + 0.05 * draw.standard_normal(part.shape, np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def _cloud(options: argparse.Namespace, model: PlaceModel) -> PointCloud:
    if options.scan:
        return read_points(options.scan)
    generator = np.random.default_rng(0)
    metres = getattr(model.config, "radius", None) is not None
    distance = np.abs(generator.normal(0, 0.4, options.count)).clip(0, 0.99)
    angle = generator.uniform(-np.pi, np.pi, options.count)
    height = generator.uniform(-0.05, 0.2, options.count)
    xyz = np.stack([distance * np.cos(angle), distance * np.sin(angle), height], 1)
    return PointCloud((xyz * (50 if metres else 1)).astype(np.float32))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    known = [name for name, entry in MODELS.items() if entry.task == "places"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=known, default=known, help="default: all")
    parser.add_argument("--scan", type=Path, metavar="FILE", help="a cloud file")
    parser.add_argument("--count", type=int, default=20_000, help="points of a made-up cloud; default: %(default)s")
    parser.add_argument("--places", type=int, default=10_000, help="places of the map; default: %(default)s")
    parser.add_argument("--index", type=int, default=0, metavar="N", help="measure the index with so many places")
    parser.add_argument("--size", type=int, default=128, help="numbers of a vector of --index; default: %(default)s")
    parser.add_argument("--folder", type=Path, help="with --index: also check and read the graph back")
    parser.add_argument("--peer", metavar="MODULE", help="the other implementation")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each; default: %(default)s")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
