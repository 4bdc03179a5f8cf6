"""End-point errors of scene flow, metres in 0.1 s: three-way, bucketed and normalised, and by range.

Three-way: Argoverse 2's first leaderboard (Chodosh et al. 2024). Bucketed: its second (Khatri et al. 2024). By range:
SSF (Khoche et al. 2025). Each as its benchmark defines it, odd or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

CLOSE = 35.0
DYNAMIC = 0.05
SPEEDS = np.append(np.linspace(0, 2, 51), np.inf)
RANGES = np.array([0.0, 35.0, 50.0, 75.0, 100.0, np.inf])
RANGE_SPEED = 1.4
FRAMES_A_SECOND = 10


@dataclass(frozen=True, eq=False)
class FlowFrame:
    """``points``, ``pose_flow``, ``true_flow`` and ``flow`` (N, 3), flows with the ego motion in them.

    ``category`` (N,) int, 0 for the background; only points that are ``valid`` and have numbers count.
    """

    points: np.ndarray
    pose_flow: np.ndarray
    true_flow: np.ndarray
    flow: np.ndarray
    category: np.ndarray
    valid: np.ndarray

    def counted(self) -> FlowFrame:
        arrays = (self.points, self.pose_flow, self.true_flow, self.flow)
        kept = self.valid.astype(bool) & np.logical_and.reduce([np.isfinite(a).all(1) for a in arrays])
        points, pose_flow, true_flow, flow = (a[kept] for a in arrays)
        return FlowFrame(points, pose_flow, true_flow, flow, self.category[kept], self.valid[kept])


@dataclass(frozen=True, eq=False)
class Cells:
    """Mean error, mean of what the cell is about (speed or distance) and points, in cells (classes, bins)."""

    error: np.ndarray
    about: np.ndarray
    count: np.ndarray


def _lengths(vectors: np.ndarray) -> np.ndarray:
    length: np.ndarray = np.linalg.norm(vectors.astype(np.float64), axis=1)
    return length


def _own_motion(f: FlowFrame) -> tuple[np.ndarray, np.ndarray]:
    """Speed and error without the ego motion; flows are subtracted in their own precision, as the benchmarks do."""
    true = (f.true_flow - f.pose_flow).astype(np.float64)
    return _lengths(true), _lengths((f.flow - f.pose_flow).astype(np.float64) - true)


def three_way(frame: FlowFrame) -> dict[str, float]:
    """EPE of foreground dynamic, foreground static and background static points within 35 m, and the IoU of moving.

    A kind without points counts 0, as on the leaderboard, which lowers means over frames.
    """
    f = frame.counted()
    near = _lengths(f.points[:, :2]) <= CLOSE
    true, told_flow, ego = (flow.astype(np.float64) for flow in (f.true_flow, f.flow, f.pose_flow))
    error = _lengths(told_flow - true)
    moves, told = (_lengths(flow - ego) >= DYNAMIC for flow in (true, told_flow))
    front = f.category != 0
    kinds = {"EPE_FD": front & moves, "EPE_FS": front & ~moves, "EPE_BS": ~front & ~moves}
    scores = {name: float(error[kind & near].mean()) if (kind & near).any() else 0.0 for name, kind in kinds.items()}
    either = (moves | told) & near
    return {**scores, "IoU": float((moves & told & near).sum() / either.sum()) if either.any() else 0.0}


def mean_three_way(frames: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means over frames; ``Three-way`` is the mean of the three errors."""
    means = {name: float(np.mean([frame[name] for frame in frames])) for name in ("EPE_FD", "EPE_FS", "EPE_BS", "IoU")}
    return {**means, "Three-way": (means["EPE_FD"] + means["EPE_FS"] + means["EPE_BS"]) / 3}


def speed_cells(frames: Sequence[FlowFrame], classes: Mapping[str, Sequence[int]]) -> Cells:
    """Error and speed without ego motion, within 35 m, by class (rows) and bins of speed (51 columns)."""
    rows = []
    for f in (frame.counted() for frame in frames):
        near = _lengths(f.points[:, :2]) <= CLOSE
        kind = np.full(len(f.category), -1)
        for number, members in enumerate(classes.values()):
            kind[np.isin(f.category, members)] = number
        speed, error = _own_motion(f)
        kept = near & (kind >= 0)
        # Nothing in the background moves by definition: all of it belongs to the first bin.
        column = np.where(f.category == 0, 0, np.digitize(speed, SPEEDS) - 1)
        rows.append((kind[kept], column[kept], error[kept], speed[kept]))
    return _cells(rows, (len(classes), len(SPEEDS) - 1))


def bucketed(cells: Cells, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Static: the error of the first bin. Dynamic: the mean over the other bins of error over speed. And means."""
    table = {}
    for name, error, speed in zip(classes, cells.error, cells.about):
        moving = error[1:] / speed[1:]
        table[name] = {"Static": float(error[0]), "Dynamic": _mean(moving) if name != "BACKGROUND" else float("nan")}
    mean = {key: _mean(np.array([row[key] for row in table.values()])) for key in ("Static", "Dynamic")}
    return {**table, "Mean": mean}


def range_cells(frames: Sequence[FlowFrame]) -> Cells:
    """Error without ego motion, and distance in space, of static (row 0) and dynamic points by bins of distance."""
    rows = []
    for f in (frame.counted() for frame in frames):
        distance = torch.linalg.vector_norm(torch.from_numpy(f.points), dim=-1).numpy()  # the benchmark's own rounding
        speed, error = _own_motion(f)
        moves = speed * FRAMES_A_SECOND >= RANGE_SPEED
        rows.append((moves.astype(int), np.digitize(distance, RANGES) - 1, error, distance))
    return _cells(rows, (2, len(RANGES) - 1))


def _cells(rows: Sequence[tuple[np.ndarray, ...]], shape: tuple[int, int]) -> Cells:
    row, column, error, about = (np.concatenate(parts) for parts in zip(*rows))
    cell = row * shape[1] + column
    count = np.bincount(cell, minlength=shape[0] * shape[1])
    with np.errstate(invalid="ignore"):
        means = [np.bincount(cell, values, minlength=len(count)) / count for values in (error, about)]
    return Cells(means[0].reshape(shape), means[1].reshape(shape), count.reshape(shape))


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
