"""Time by stage and peak memory of `perception trees` on LAS files of any size, made from one plot again and again.

python tools/simulate.py forests --sensor drone --side 60 --density 100 --out plots --format laz
python tools/benchmark/forest.py plots/000000.laz --side 60 --points 1e6 1e7 1e8 --work /tmp/forest

A file of a hundred million points takes 4 GB, its tiles and results as much again twice.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import laspy
import numpy as np

from perception.commands.trees_job import TreesJob
from perception.io.las import read_las
from perception.io.las_header import read_las_header
from perception.trees.forest.settings import ForestSettings, default_voxel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plot", type=Path)
    parser.add_argument("--side", type=float, default=60.0, help="metres from one copy of the plot to the next")
    parser.add_argument("--points", type=float, nargs="+", default=[1e6, 1e7])
    parser.add_argument("--method", default="watershed")
    parser.add_argument("--suffix", default=".las", help="of the output")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        print(json.dumps(measure(options.run, options.method, options.suffix)))
        return
    options.work.mkdir(parents=True, exist_ok=True)
    for points in options.points:
        path = options.work / f"{int(points)}.las"
        if not path.is_file():
            repeat(options.plot, path, int(points), options.side)
        command = [sys.executable, __file__, str(options.plot), "--work", str(options.work), "--run", str(path)]
        command += ["--method", options.method, "--suffix", options.suffix]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
        print(f"{int(points):,} points: {answer}", flush=True)


def repeat(plot: Path, path: Path, points: int, side: float) -> None:
    """Copies of a plot beside one another, row by row."""
    cloud = read_las(plot)
    world = np.round(cloud.world() / 0.001).astype(np.int64)
    across = int(np.ceil(np.sqrt(points / len(cloud))))
    header = laspy.LasHeader(version="1.4", point_format=6)
    header.scales, header.offsets = np.full(3, 0.001), np.zeros(3)
    with laspy.open(path, "w", header=header) as file:
        for copy in range(-(-points // len(cloud))):
            take = min(len(cloud), points - copy * len(cloud))
            records = laspy.ScaleAwarePointRecord.zeros(take, header=header)
            move = np.array([copy % across, copy // across, 0]) * side / 0.001
            for axis, name in enumerate("XYZ"):
                records[name] = world[:take, axis] + int(move[axis])
            records["intensity"] = cloud.fields["intensity"][:take]
            file.write_points(records)


class Clock:
    """Seconds of each stage, by the first and last word about it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def step(self, text: str) -> Callable[[int, int], None]:
        start = time.perf_counter()

        def progress(done: int, total: int) -> None:
            self.seconds[text] = round(time.perf_counter() - start, 1)

        return progress


def measure(path: Path, method: str, suffix: str) -> dict[str, object]:
    from contextlib import contextmanager

    from rich.console import Console

    clock = Clock()
    target = path.with_name(f"{path.stem}_trees{suffix}")

    class Job(TreesJob):
        @contextmanager
        def _steps(self):  # type: ignore[no-untyped-def]
            yield clock.step

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    settings = ForestSettings(voxel=default_voxel(method))
    table = path.with_suffix(".csv")
    job = Job(method, method, settings, None, [target], table, False, None, Console(stderr=True))
    start = time.perf_counter()
    said = list(job.run([read_las_header(path)], target))
    seconds = time.perf_counter() - start
    target.unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    stages = clock.seconds
    return {"seconds": round(seconds, 1), "peak_mb": round(peak), "start_mb": round(before), "said": said, **stages}


if __name__ == "__main__":
    main()
