#!/usr/bin/env python3
"""Exported folders beside the model in torch, on the same clouds: boxes that differ, and milliseconds.

python tools/benchmark/exports.py pointpillars-small exported exported-int8 --clouds 'drive/*.bin' --compile

Also compares TensorRT engines with torch, on the machine that they were built on. Rows take turns, so that a busy
machine slows all of them alike; --clock cpu counts processor time of one thread instead of wall clock.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import write_figures
from rich.console import Console
from rich.table import Table

from perception.commands.inputs import find_inputs
from perception.errors import PerceptionError
from perception.export.compare import ALL, TOLERANCES, difference
from perception.export.runner import ExportedDetector
from perception.export.samples import sample_clouds, with_fields
from perception.export.write import answers_of
from perception.io.clouds import read_points
from perception.models.detector import Detector
from perception.models.loading import load
from perception.pipeline import perceive
from perception.points import PointCloud

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> int:
    options = _options()
    torch.set_num_threads(options.threads)
    try:
        models = _models(options)
        reference = next(iter(models.values()))
        clouds = [with_fields(read_points(item.path), reference) for item in find_inputs(options.clouds or [])]
        clouds = clouds or sample_clouds(reference)[:2]
        rows = _rows(models, clouds, options)
    except PerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    table = Table("run", "boxes", "without partner", "worst, m or rad", "worst score", "network ms", "all ms")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
    if options.out is not None:
        write_figures(options.out, {"clouds": len(clouds), "threads": options.threads, "runs": rows})
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="weights, or a model's name: the reference")
    parser.add_argument("exports", nargs="*", type=Path, help="folders that `perception export` wrote")
    parser.add_argument("--clouds", nargs="+", help="default: the bundled street")
    parser.add_argument("--compile", action="store_true", help="also torch.compile of the reference")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser.parse_args()


def _models(options: argparse.Namespace) -> dict[str, Detector]:
    found: dict[str, Detector] = {}
    for name in [options.model, *options.exports]:
        model = load(name)
        if not isinstance(model, Detector):
            raise PerceptionError(f"{name} is a model for {model.task}", "a detector")
        found[str(name)] = model
    if options.compile:
        compiled = load(options.model)
        logging.getLogger("torch._dynamo").setLevel(logging.ERROR)  # breaks of the graph are expected
        compiled.compile(dynamic=True)
        assert isinstance(compiled, Detector)
        found["torch.compile"] = compiled
    return found


def _rows(
    models: dict[str, Detector], clouds: list[PointCloud], options: argparse.Namespace
) -> list[dict[str, object]]:
    clock = CLOCKS[options.clock]
    network: dict[str, list[float]] = {name: [] for name in models}
    whole: dict[str, list[float]] = {name: [] for name in models}
    for repeat in range(options.repeats + 1):
        for name, model in models.items():
            for cloud in clouds:
                times = _timed(model, cloud, clock)
                if repeat:  # the first run compiles and warms
                    network[name].append(times[0])
                    whole[name].append(times[1])
    wanted = answers_of(next(iter(models.values())), clouds, ALL)
    rows = []
    for name, model in models.items():
        precision = model.manifest.precision if isinstance(model, ExportedDetector) else "fp32"
        found = answers_of(model, clouds, ALL)
        parts = [difference(a, b, TOLERANCES[precision]) for a, b in zip(wanted, found)]
        row = {
            "run": name,
            "boxes": sum(len(answer.results) for answer in found),
            "unmatched": sum(part.unmatched for part in parts),
            "worst_box": f"{max(part.worst_box for part in parts):.2g}",
            "worst_score": f"{max(part.worst_score for part in parts):.2g}",
            "network_ms": round(1e3 * statistics.median(network[name]), 1),
            "all_ms": round(1e3 * statistics.median(whole[name]), 1),
        }
        rows.append(row)
    return rows


@torch.inference_mode()
def _timed(model: Detector, cloud: PointCloud, clock: Callable[[], float]) -> tuple[float, float]:
    """Seconds of the network alone, and of all from points to boxes."""
    voxels = model.voxelise(model.points([cloud]))
    start = clock()
    model(voxels)
    middle = clock()
    perceive(model, [cloud])
    return middle - start, clock() - middle


if __name__ == "__main__":
    sys.exit(main())
