"""Scene flow without labels (Zhang et al. 2024, SeFlow): what moves is told apart beforehand, where to is learnt.

Distances between scans are squared, as in the published code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.spatial import cKDTree
from torch import Tensor

STATIC, UNCLUSTERED = 0, 1
TRUNCATED = 4.0  # square metres: 2 m in 0.1 s are 72 km/h
FEWEST_MOVING = 256
CHUNK = 4096


@dataclass(frozen=True, eq=False)
class MotionPair:
    """Points (N, 3) of the first scan, their ``flow`` (N, 3) and those (M, 3) of the second scan in one frame.

    ``first_motion`` (N,), ``second_motion`` (M,) int64: 0 static, 1 moving, from 2 on the number of a cluster.
    """

    first: Tensor
    flow: Tensor
    second: Tensor
    first_motion: Tensor
    second_motion: Tensor

    @property
    def moving(self) -> tuple[Tensor, Tensor]:
        return self.first_motion > STATIC, self.second_motion > STATIC

    @property
    def moves(self) -> bool:
        """Whether enough points of both scans move to compare them."""
        return all(int(mask.sum()) > FEWEST_MOVING for mask in self.moving)


def seflow_loss(pairs: list[MotionPair]) -> dict[str, Tensor]:
    """``chamfer``, ``dynamic_chamfer``, ``static`` and ``cluster``, and as ``loss`` their sum (equation 12)."""
    zero = sum((pair.flow.sum() * 0.0 for pair in pairs), torch.zeros(()))
    chamfer = [chamfer_loss(pair.first + pair.flow, pair.second) for pair in pairs]
    dynamic = [
        chamfer_loss((pair.first + pair.flow)[pair.moving[0]], pair.second[pair.moving[1]])
        for pair in pairs
        if pair.moves
    ]
    static = [pair.flow[~pair.moving[0]].norm(dim=1).mean() for pair in pairs if not bool(pair.moving[0].all())]
    clusters = [error for pair in pairs if pair.moves for error in cluster_errors(pair)]
    parts = {
        "chamfer": torch.stack(chamfer).mean() if chamfer else zero,
        "dynamic_chamfer": torch.stack(dynamic).mean() if dynamic else zero,
        "static": torch.stack(static).sum() if static else zero,
        "cluster": torch.cat(clusters).mean() if clusters else zero,
    }
    return {"loss": torch.stack(list(parts.values())).sum() + zero, **parts}


def chamfer_loss(first: Tensor, second: Tensor, truncated: float = TRUNCATED) -> Tensor:
    """Mean squared distance to the nearest point of the other cloud, both ways; larger ones than ``truncated`` are out.

    A side on which none is left adds nothing.
    """
    if not len(first) or not len(second):
        return first.sum() * 0.0
    there = (first - second[nearest(first, second)]).square().sum(1)
    back = (second - first[nearest(second, first)]).square().sum(1)
    return sum(
        (torch.where(side <= truncated, side, 0.0).sum() / (side <= truncated).sum().clamp(min=1))
        for side in (there, back)
    )  # type: ignore[return-value]


def cluster_errors(pair: MotionPair) -> list[Tensor]:
    """For each cluster the distance of its points' flow from one vector (equations 8 to 10).

    That vector leads from the point farthest from the second scan, among those whose neighbour there moves, to this
    neighbour: the tip of a moving object is where the scans differ most.
    """
    found = []
    neighbour = nearest(pair.first, pair.second)
    distance = (pair.first - pair.second[neighbour]).square().sum(1)
    candidates = pair.moving[1][neighbour]
    for label in pair.first_motion.unique().tolist():
        if label <= UNCLUSTERED:
            continue
        rows = (pair.first_motion == label).nonzero()[:, 0]
        eligible = rows[candidates[rows]]
        if len(eligible):
            tip = eligible[distance[eligible].argmax()]
            target = pair.second[neighbour[tip]] - pair.first[tip]
            found.append((pair.flow[rows] - target).norm(dim=1))
    return found


def nearest(points: Tensor, others: Tensor) -> Tensor:
    """Row (N,) of the nearest of ``others`` (M, 3), M > 0, to each of ``points`` (N, 3)."""
    points, others = points.detach(), others.detach()
    if points.device.type == "cpu":
        return torch.from_numpy(cKDTree(others.numpy()).query(points.numpy())[1]).long()
    return torch.cat([torch.cdist(part, others).argmin(1) for part in points.split(CHUNK)])
