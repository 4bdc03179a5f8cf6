"""Scan Context: places by the heights around the sensor (Kim & Kim, IROS 2018), without learning.

A cloud becomes an image of rings and sectors. A turn of the sensor moves its columns, so two clouds are compared under
every such move, and the best one also tells the turn. Means of the rings do not change by turning; they find the
candidates.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from perception.config import config
from perception.errors import PerceptionError
from perception.points import PointCloud


@config
class ScanContextConfig:
    """``radius`` metres in ``rings`` rings, a full turn in ``sectors``.

    ``sensor_height`` is added to heights, so that the ground is not below zero, which is what empty cells hold.
    """

    rings: int = 20
    sectors: int = 60
    radius: float = 80.0
    sensor_height: float = 2.0

    def __post_init__(self) -> None:
        if min(self.rings, self.sectors) < 1 or self.radius <= 0:
            raise PerceptionError(
                f"{self.rings} rings, {self.sectors} sectors, {self.radius} m", "at least one of each, and a radius"
            )


def scan_context(cloud: PointCloud, settings: ScanContextConfig | None = None) -> Tensor:
    """The highest point over each cell around the sensor: (rings, sectors) float32, zero where there is none.

    Ring i is at i .. i + 1 times ``radius / rings`` from the sensor; sector j begins at j turns / ``sectors``,
    counter-clockwise from +x. A cloud without points in the radius gives zeros.
    """
    settings = settings or ScanContextConfig()
    xyz = torch.from_numpy(cloud.xyz).double()
    distance, turn = xyz[:, :2].norm(dim=1), torch.atan2(xyz[:, 1], xyz[:, 0]) % math.tau
    inside = distance < settings.radius
    ring = (distance / settings.radius * settings.rings).long().clamp(max=settings.rings - 1)
    sector = (turn / math.tau * settings.sectors).long().clamp(max=settings.sectors - 1)
    cell = (ring * settings.sectors + sector)[inside]
    height = (xyz[:, 2] + settings.sensor_height)[inside].clamp(min=0).float()
    image = torch.zeros(settings.rings * settings.sectors).scatter_reduce(0, cell, height, "amax")
    return image.view(settings.rings, settings.sectors)


def ring_keys(contexts: Tensor) -> Tensor:
    """Mean of each ring: (N, rings, sectors) -> (N, rings); the same however the sensor is turned."""
    return contexts.mean(2)


def context_distances(query: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Distance (N,) in [0, 1] of one context (R, S) to each candidate (N, R, S), and by how many sectors it is turned.

    One minus the mean cosine of columns (equation 6 of the paper), columns that are empty in either left out, at the
    turn where that is least (equation 7): candidate column j + ``turn`` (modulo S) lies on the query's column j. A pair
    without common columns at any turn has distance 1.
    """
    if query.ndim != 2 or candidates.ndim != 3 or candidates.shape[1:] != query.shape:
        raise PerceptionError(
            f"contexts of shapes {tuple(query.shape)} and {tuple(candidates.shape)}", "(R, S) and (N, R, S)"
        )
    sectors = query.shape[1]
    first, second = _unit_columns(query[None])[0], _unit_columns(candidates)
    cosine = torch.einsum("ri,nrj->nij", first, second)
    filled = (first.any(0)[:, None] & second.any(1)[:, None]).to(cosine.dtype)
    # Column j + turn of row j, for all turns at once: (N, S turns, S columns).
    column = torch.arange(sectors, device=query.device)
    turned = (column + column[:, None]) % sectors
    total, common = cosine[:, column, turned].sum(2), filled[:, column, turned].sum(2)
    distance = torch.where(common > 0, 1 - total / common.clamp(min=1), 1.0)
    least = distance.min(1)
    return least.values.clamp(min=0), least.indices


def search(queries: Tensor, database: Tensor, candidates: int = 10) -> tuple[Tensor, Tensor, Tensor]:
    """The nearest places of the database (N, R, S) for each query (Q, R, S), best first.

    Of the ``candidates`` with the nearest ring keys: rows of the database (Q, K) int64, distances (Q, K), turns (Q, K).
    """
    if not len(database):
        raise PerceptionError("a database without contexts", "at least one place")
    number = min(candidates, len(database))
    near = torch.cdist(ring_keys(queries), ring_keys(database)).topk(number, 1, largest=False).indices
    found = [context_distances(query, database[rows]) for query, rows in zip(queries, near)]
    if not found:
        return near, near.to(queries.dtype), near
    distances, turns = torch.stack([pair[0] for pair in found]), torch.stack([pair[1] for pair in found])
    order = distances.argsort(dim=1, stable=True)
    return near.gather(1, order), distances.gather(1, order), turns.gather(1, order)


def _unit_columns(contexts: Tensor) -> Tensor:
    """Columns of (N, R, S) of length one, empty ones zero."""
    return contexts / contexts.norm(dim=1, keepdim=True).clamp(min=1e-12)
