"""Farthest point sampling (Eldar et al. 1997; Qi et al. 2017, PointNet++, section 3.2)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from perception.compiled import compiled
from perception.heads.roi.voxel_query import squared_distance
from perception.points import PointBatch

# Points a group that is skipped or looked at as a whole.
GROUP = 64


def farthest_points(points: PointBatch, number: int) -> Tensor:
    """Rows (M,) int64 of up to ``number`` points of each sample, each the farthest from those before it.

    The first is the sample's first point; of equally far ones the first is taken. A sample with fewer points gives
    them all and then again from the start, so every sample with points has ``number`` rows; one without has none.
    """
    starts = np.concatenate([[0], np.bincount(points.sample.cpu().numpy(), minlength=points.batch_size).cumsum()])
    chosen = []
    for first, last in zip(starts[:-1].tolist(), starts[1:].tolist()):
        count = last - first
        if not count:
            continue
        wanted = min(count, number)
        xyz = points.xyz[first:last].detach().float()
        order = _compiled(xyz, wanted) if xyz.device.type == "cpu" else plain_farthest_points(xyz, wanted)
        chosen.append(first + order[torch.arange(number, device=order.device) % wanted])
    return torch.cat(chosen) if chosen else torch.zeros(0, dtype=torch.int64, device=points.values.device)


def plain_farthest_points(xyz: Tensor, number: int) -> Tensor:
    """The order (number,) in which points (N, 3) are taken, on any device; N >= number."""
    nearest = torch.full((len(xyz),), torch.inf, device=xyz.device)
    chosen = torch.zeros(number, dtype=torch.int64, device=xyz.device)
    for step in range(1, number):
        nearest = torch.minimum(nearest, squared_distance(xyz, xyz[chosen[step - 1]]))
        chosen[step] = nearest.argmax()
    return chosen


def _compiled(xyz: Tensor, number: int) -> Tensor:
    values = np.ascontiguousarray(xyz.numpy())
    order, starts = _groups(values)
    return torch.from_numpy(_sample(values[order], order, starts, number))


def _groups(xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Halve the points at the median of their wider axis until groups are small: their order and where groups start."""
    order = np.arange(len(xyz))
    starts = [0, len(xyz)]
    while max(b - a for a, b in pairwise(starts)) > GROUP:
        cuts = [0]
        for first, last in pairwise(starts):
            rows = order[first:last]
            part = xyz[rows]
            middle = len(rows) // 2
            axis = int(np.argmax(part.max(0) - part.min(0)))
            order[first:last] = rows[np.argpartition(part[:, axis], middle)]
            cuts += [first + middle, last]
        starts = cuts
    return order, np.asarray(starts, np.int64)


@compiled
def _sample(xyz: np.ndarray, order: np.ndarray, starts: np.ndarray, number: int) -> np.ndarray:
    """A group whose box is farther from the new point than any of its points is from the old ones stays as it is.

    All in float32 and in one order of operations: rounding is monotone, so a skipped point would not have changed.
    """
    groups = len(starts) - 1
    low, high = np.empty((groups, 3), np.float32), np.empty((groups, 3), np.float32)
    for group in range(groups):
        for axis in range(3):
            column = xyz[starts[group] : starts[group + 1], axis]
            low[group, axis], high[group, axis] = column.min(), column.max()
    nearest = np.full(len(xyz), np.inf, np.float32)
    farthest = np.full(groups, np.inf, np.float32)
    holder = np.zeros(groups, np.int64)
    chosen = np.zeros(number, np.int64)
    place = 0
    while order[place] != 0:
        place += 1
    zero = np.float32(0)
    for step in range(1, number):
        x, y, z = xyz[place, 0], xyz[place, 1], xyz[place, 2]
        for group in range(groups):
            dx = max(low[group, 0] - x, x - high[group, 0], zero)
            dy = max(low[group, 1] - y, y - high[group, 1], zero)
            dz = max(low[group, 2] - z, z - high[group, 2], zero)
            if dx * dx + dy * dy + dz * dz >= farthest[group]:
                continue
            top, at = np.float32(-1), starts[group]
            for i in range(starts[group], starts[group + 1]):
                ex, ey, ez = xyz[i, 0] - x, xyz[i, 1] - y, xyz[i, 2] - z
                distance = min(nearest[i], ex * ex + ey * ey + ez * ez)
                nearest[i] = distance
                if distance > top or (distance == top and order[i] < order[at]):
                    top, at = distance, i
            farthest[group], holder[group] = top, at
        best = 0
        for group in range(1, groups):
            if farthest[group] > farthest[best] or (
                farthest[group] == farthest[best] and order[holder[group]] < order[holder[best]]
            ):
                best = group
        place = holder[best]
        chosen[step] = order[place]
    return chosen
