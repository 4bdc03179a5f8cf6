"""Both clusterings of SegmentAnyTree at the size of a whole plot, with the time of each stage.

python tools/benchmark/tree_clustering.py --points 18.5e6

Region growing takes all points at once: shifted to the middles of their trees with the error of a network that is not
perfect. Mean shift sees one cylinder at a time, as in the published inference: ``--cylinder`` points with embeddings of
a dozen trees.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from perception.trees.cells import sort_into_cells
from perception.trees.clustering import connected, grow_regions
from perception.trees.mean_shift import mean_shift

RADIUS, BANDWIDTH = 0.3, 0.6  # metres; as published
POINTS_OF_A_TREE = 6_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=float, default=18.5e6)
    parser.add_argument("--cylinder", type=int, default=20_000)
    options = parser.parse_args()
    connected(np.random.default_rng(0).uniform(0, 5, (500, 3)), RADIUS)  # compiles
    mean_shift(np.random.default_rng(0).normal(size=(500, 5)), BANDWIDTH)
    region_growing(int(options.points))
    embeddings(int(options.points), options.cylinder)
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


def region_growing(points: int) -> None:
    generator = np.random.default_rng(1)
    trees = max(points // POINTS_OF_A_TREE, 1)
    across = int(np.ceil(np.sqrt(trees)))
    tree = generator.integers(0, trees, points)
    middle = np.column_stack([tree % across, tree // across, np.zeros(points)]) * [5.0, 5.0, 0]
    shifted = middle + generator.normal(0, 0.35, (points, 3)) * [1, 1, 3]
    stages = {
        "sorting into cells": lambda: sort_into_cells(shifted, RADIUS / np.sqrt(3)),
        "components": lambda: connected(shifted, RADIUS),
        "region growing, all of it": lambda: grow_regions(shifted, np.ones(points, np.int64), RADIUS, 10),
    }
    found = None
    for name, stage in stages.items():
        found = timed(f"{points:,} points, {name}", stage)
    assert isinstance(found, np.ndarray)
    print(f"{int(found.max()) + 1:,} regions of {trees:,} trees")


def embeddings(points: int, cylinder: int) -> None:
    generator = np.random.default_rng(2)
    parts = -(-points // cylinder)

    def all_cylinders() -> int:
        modes = 0
        for _ in range(parts):
            middles = generator.uniform(-6, 6, (12, 5))
            embedded = middles[generator.integers(0, 12, cylinder)] + generator.normal(0, 0.2, (cylinder, 5))
            modes += len(mean_shift(embedded, BANDWIDTH).centres)
        return modes

    modes = timed(f"{points:,} points, mean shift in {parts:,} cylinders of {cylinder:,}", all_cylinders)
    print(f"{modes:,} modes")


def timed(name, stage):  # type: ignore[no-untyped-def]
    start, busy = time.perf_counter(), time.process_time()
    answer = stage()
    print(f"{name}: {time.perf_counter() - start:.1f} s, {time.process_time() - busy:.1f} s of processor", flush=True)
    return answer


if __name__ == "__main__":
    main()
