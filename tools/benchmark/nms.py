#!/usr/bin/env python3
"""Milliseconds of suppression and of overlap matrices, with shapely (GEOS) as the peer on the same boxes.

Ours and the peer's runs alternate, so that a busy machine slows both; the median counts. Both must give the same
answer, or the run ends with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
import shapely
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from perception.boxes import Boxes3D
from perception.geometry import bev_iou, nms
from perception.io.files import write_atomically

# Proposals lie in clusters around objects; raw centres of a heat map lie spread over the scene.
CLUSTERED, SPREAD = "clustered", "spread"
BOXES_A_CLUSTER = 50


@dataclass(frozen=True)
class Row:
    """One line of the table, times in milliseconds."""

    name: str
    ours_ms: float
    peer_ms: float
    ratio: float
    kept: int | None
    same_answer: bool


def scene(count: int, kind: str) -> tuple[Tensor, Tensor]:
    """Car-sized boxes (count, 7) float64 over 70 m x 80 m, with scores."""
    generator = torch.Generator().manual_seed(count)
    centres = torch.rand(count, 2, generator=generator, dtype=torch.float64) * torch.tensor([70.0, 80.0])
    if kind == CLUSTERED:
        centres = centres[torch.arange(count) % (count // BOXES_A_CLUSTER)]
        centres = centres + torch.randn(count, 2, generator=generator, dtype=torch.float64) * 0.5
    size = torch.rand(count, 3, generator=generator, dtype=torch.float64) * 0.4 + torch.tensor([3.7, 1.5, 1.4])
    heading = torch.rand(count, 1, generator=generator, dtype=torch.float64) * 2 * torch.pi
    if kind == CLUSTERED:
        heading = heading * 0.05
    rest = torch.zeros(count, 1, dtype=torch.float64)
    return torch.cat([centres, rest, size, heading], 1), torch.rand(count, generator=generator)


def polygons(boxes: Tensor) -> np.ndarray:
    return shapely.polygons(Boxes3D(boxes).corners()[:, :4, :2].numpy())


def shapely_nms(boxes: Tensor, scores: Tensor, threshold: float) -> np.ndarray:
    """Rivals from an STR tree; each kept box is clipped, in one call, with those that are still there."""
    shapes, area = polygons(boxes), (boxes[:, 3] * boxes[:, 4]).numpy()
    tree = shapely.STRtree(shapes)
    waiting, kept = np.ones(len(boxes), bool), []
    for row in scores.argsort(descending=True, stable=True).tolist():
        if not waiting[row]:
            continue
        kept.append(row)
        waiting[row] = False
        near = tree.query(shapes[row])
        rivals = near[waiting[near]]
        shared = shapely.area(shapely.intersection(shapes[row], shapes[rivals]))
        waiting[rivals[shared > threshold * (area[row] + area[rivals] - shared)]] = False
    return np.array(kept)


def shapely_iou(a: Tensor, b: Tensor) -> np.ndarray:
    shared = shapely.area(shapely.intersection(polygons(a)[:, None], polygons(b)[None]))
    return shared / ((a[:, 3] * a[:, 4]).numpy()[:, None] + (b[:, 3] * b[:, 4]).numpy()[None] - shared)


def compare(name: str, ours: Callable[[], Any], peer: Callable[[], Any], repeats: int) -> Row:
    mine, theirs = np.asarray(ours()), np.asarray(peer())  # also the compilation
    same = mine.shape == theirs.shape and bool(np.allclose(mine, theirs, rtol=0, atol=1e-9))
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for spent, function in zip(times, (ours, peer)):
            start = time.perf_counter()
            function()
            spent.append((time.perf_counter() - start) * 1e3)
    ours_ms, peer_ms = map(statistics.median, times)
    return Row(name, ours_ms, peer_ms, peer_ms / ours_ms, len(mine) if mine.ndim == 1 else None, same)


def measure(repeats: int) -> list[Row]:
    rows = []
    for count in (1024, 4096):
        for kind, threshold in ((SPREAD, 0.2), (CLUSTERED, 0.01), (CLUSTERED, 0.7)):
            boxes, scores = scene(count, kind)
            rows.append(
                compare(
                    f"nms {count} {kind}, IoU > {threshold}",
                    partial(nms, boxes, scores, threshold),
                    partial(shapely_nms, boxes, scores, threshold),
                    repeats,
                )
            )
    for kind in (SPREAD, CLUSTERED):
        boxes, _ = scene(1000, kind)
        a, b = boxes[:500], boxes[500:]
        rows.append(
            compare(f"IoU matrix 500 x 500 {kind}", partial(bev_iou, a, b), partial(shapely_iou, a, b), repeats)
        )
    return rows


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="timed runs of each, after one that is not timed")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    if options.out and not options.out.parent.is_dir():
        parser.error(f"no folder {options.out.parent}: create it first")
    torch.set_num_threads(1)
    rows = measure(options.repeats)
    table = Table("one core", "ours ms", "shapely ms", "ratio", "kept", "same answer")
    for row in rows:
        kept = "" if row.kept is None else str(row.kept)
        figures = f"{row.ours_ms:.2f}", f"{row.peer_ms:.2f}", f"{row.ratio:.1f}"
        table.add_row(row.name, *figures, kept, "yes" if row.same_answer else "NO")
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if options.out:
        versions = {"torch": torch.__version__, "numba": numba.__version__, "shapely": shapely.__version__}
        report = {"machine": platform.machine(), "versions": versions, "rows": [asdict(row) for row in rows]}
        with write_atomically(options.out, "w") as file:
            file.write(json.dumps(report, indent=2) + "\n")
    return 0 if all(row.same_answer for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
