#!/usr/bin/env python3
"""Nanoseconds a point of voxelisation, from a scan to fifty million points, beside sorting in plain torch and a peer.

Clouds are a scan (a file, or a generated street) set side by side until there are enough points, so that voxels grow
with the points. Runs alternate. A peer is a module with `voxelise(points, range, voxel_size, max_points, max_voxels)`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Row, write_figures
from rich.console import Console
from rich.table import Table
from sparse_clouds import kitti
from sparse_conv import timed

from perception.errors import PerceptionError
from perception.points import PointBatch
from perception.sparse import VoxelGrid, dynamic_voxelise, hard_voxelise
from perception.sparse.voxelise import plain_hard_voxelise

VOXEL = (0.1, 0.1, 0.15)
TILE = 150.0
POINTS_A_VOXEL = 5
PEER_CELLS = 2**29  # the peer's dense table of cells, 2 GB


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    try:
        peer = None if options.peer is None else importlib.import_module(options.peer)
        scan = kitti(options.cloud, None).points.values.numpy()
        rows = [row for number in options.points for row in measure(scan, number, peer, options.repeats)]
    except (PerceptionError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    table = Table("points", "what", "ours ns a point", "other ns a point", "ratio")
    for number, row in rows:
        assert row.ours is not None
        other = "" if row.peer is None else f"{row.peer.median_ms / number * 1e6:.1f}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(f"{number:,}", row.name, f"{row.ours.median_ms / number * 1e6:.1f}", other, ratio)
    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(table)
    if options.out:
        figures = [{"points": number, **row.as_dict()} for number, row in rows]
        write_figures(options.out, {"threads": options.threads, "peer": options.peer, "rows": figures})
    return 0


def measure(scan: np.ndarray, number: int, peer: Any, repeats: int) -> list[tuple[int, Row]]:
    points, grid = side_by_side(scan, number)
    batch = PointBatch(torch.from_numpy(points), torch.zeros(number, dtype=torch.int64), 1)
    repeats = repeats if number < 5_000_000 else 1
    caps = POINTS_A_VOXEL, number
    ours = lambda: hard_voxelise(batch, grid, *caps)  # noqa: E731
    rows = [timed("hard; sorting", ours, lambda: plain_hard_voxelise(batch, grid, *caps), repeats)]
    if peer is not None and np.prod(grid.shape) < PEER_CELLS:
        settings = (grid.point_range, grid.voxel_size, POINTS_A_VOXEL, min(number, 1_000_000))
        rows.append(timed(f"hard; {peer.__name__}", ours, lambda: peer.voxelise(points, *settings), repeats))
    rows.append(timed("dynamic", lambda: dynamic_voxelise(batch, grid), None, repeats))
    return [(number, row) for row in rows]


def side_by_side(scan: np.ndarray, number: int) -> tuple[np.ndarray, VoxelGrid]:
    """``number`` points (N, C) of copies of the scan in a square of tiles, and a grid around them all."""
    near = scan[(np.abs(scan[:, :2]) < TILE / 2).all(1) & (scan[:, 2] > -4) & (scan[:, 2] < 6)]
    copies = -(-number // len(near))
    side = int(np.ceil(np.sqrt(copies)))
    points = np.tile(near, (copies, 1))[:number]
    tile = np.repeat(np.arange(copies), len(near))[:number]
    points[:, 0] += (tile % side) * TILE
    points[:, 1] += (tile // side) * TILE
    last = (side - 0.5) * TILE
    return points, VoxelGrid((-TILE / 2, -TILE / 2, -4.0, last, last, 6.05), VOXEL)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cloud", type=Path, help="a scan of KITTI; default: a generated street")
    parser.add_argument("--points", nargs="+", type=int, default=[120_000, 1_000_000, 10_000_000, 50_000_000])
    parser.add_argument("--peer", metavar="MODULE", help="the other implementation")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=9, help="timed runs; one from five million points on")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
