"""PointNet set abstraction over balls of several radii (Qi et al. 2017, PointNet++, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.config import config
from perception.dense import Linear
from perception.heads.roi.ball_query import ball_query
from perception.heads.roi.segments import paired_relu, segment_max
from perception.points import PointBatch
from perception.sparse import BatchNorm
from perception.sparse.scatter import gather_rows

# Queries looked at together on a CPU.
TOGETHER = 256


@config
class Ball:
    """The first ``neighbours`` points within ``radius`` metres, through two layers of these ``widths``."""

    radius: float
    neighbours: int
    widths: tuple[int, int]


class Aggregation(nn.Module):
    """Features of the points around each query, one part a ball: (M, ``channels``)."""

    def __init__(self, inputs: int, balls: Sequence[Ball]) -> None:
        super().__init__()
        self.balls = nn.ModuleList(BallFeatures(inputs, ball) for ball in balls)
        self.channels = sum(ball.widths[1] for ball in balls)

    def forward(self, points: PointBatch, queries: PointBatch) -> Tensor:
        """``points`` with features behind x y z, ``queries`` (M, 3 or more)."""
        # Offsets are differences of large coordinates: half precision would lose them.
        with torch.autocast(points.values.device.type, enabled=False):
            return torch.cat([ball(points, queries) for ball in self.balls], 1)


class BallFeatures(nn.Module):
    """Two layers, each linear, norm and ReLU, on (offset, features) of each neighbour, then the maximum.

    The published module fills each ball up to its number of neighbours with copies of the first one, and a ball
    without points with zeros. Here every pair is computed once and counts as often as it was copied: the same maximum
    and the same statistics of the norms.
    """

    def __init__(self, inputs: int, ball: Ball) -> None:
        super().__init__()
        self.ball = ball
        first, second = ball.widths
        self.first, self.first_norm = Linear(3 + inputs, first, bias=False), CountedNorm(first)
        self.second, self.second_norm = Linear(first, second, bias=False), CountedNorm(second)
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight)

    def forward(self, points: PointBatch, queries: PointBatch) -> Tensor:
        near = ball_query(points, queries, self.ball.radius, self.ball.neighbours)
        query, row = near.pairs()
        if not self.training and not torch.is_grad_enabled():
            return self._in_use(points, queries, query, row, near.counts)
        # The last row is the ball without points.
        counts = torch.cat([self._copies(query, near.counts), self._slots_of_empty(near.counts)])
        values = F.pad(self._offset(points, queries, query, row, self.first.weight), (0, 0, 0, 1))
        values = self.first_norm(values, counts).relu()
        values = self.second_norm(self.second(values), counts).relu()
        return torch.where(near.counts[:, None] > 0, segment_max(values[:-1], near.counts), values[-1])

    def _offset(self, points: PointBatch, queries: PointBatch, query: Tensor, row: Tensor, weight: Tensor) -> Tensor:
        """``weight`` applied to (point - query, features) of each pair: once a point and once a query, then paired."""
        here, there = points.values @ weight.T, queries.xyz @ weight[:, :3].T
        return gather_rows(here, row) - gather_rows(there, query)

    def _in_use(self, points: PointBatch, queries: PointBatch, query: Tensor, row: Tensor, counts: Tensor) -> Tensor:
        """The same with norms folded into the layers, a few queries at a time so that pairs stay in the cache."""
        scale, shift = self.first_norm.folded()
        weight = self.first.weight * scale[:, None]
        here, there = torch.addmm(shift, points.values, weight.T), queries.xyz @ weight[:, :3].T
        scale, further = self.second_norm.folded()
        weight = self.second.weight * scale[:, None]
        size = TOGETHER if counts.device.type == "cpu" else max(len(counts), 1)
        parts = counts.split(size)
        pairs = [int(part.sum()) for part in parts]
        largest = [
            segment_max(paired_relu(here, there, r, q) @ weight.T, part)
            for part, q, r in zip(parts, query.split(pairs), row.split(pairs))
        ]
        found = torch.where(counts[:, None] > 0, torch.cat(largest), weight @ shift.relu())
        return (found + further).relu_()

    def _copies(self, query: Tensor, counts: Tensor) -> Tensor:
        """How many slots of its ball each pair fills: the first neighbour also those left over."""
        copies = torch.ones_like(query)
        leading = torch.ones_like(query, dtype=torch.bool)
        leading[1:] = query[1:] != query[:-1]
        copies[leading] += self.ball.neighbours - counts[counts > 0]
        return copies

    def _slots_of_empty(self, counts: Tensor) -> Tensor:
        return ((counts == 0).sum() * self.ball.neighbours)[None]


class CountedNorm(BatchNorm):
    """Batch normalisation in which row i counts as if it were there ``counts[i]`` times."""

    def forward(self, features: Tensor, counts: Tensor) -> Tensor:  # type: ignore[override]
        total = counts.sum()
        if not self.training or int(total) < 2:
            scale, shift = self.folded()
            return features * scale + shift
        normed, mean, variance = _Normalise.apply(features, counts / total, self.eps)
        self._remember(mean, variance * (total / (total - 1)))
        return normed * self.weight + self.bias

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)


class _Normalise(torch.autograd.Function):
    """Rows (N, C) less their weighted mean, over their weighted deviation; and that mean and variance (C,)."""

    @staticmethod
    def forward(ctx, features: Tensor, share: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        mean = share @ features
        normed = features - mean
        variance = share @ normed.square()
        inverse = (variance + eps).rsqrt()
        normed *= inverse
        ctx.save_for_backward(normed, share, inverse)
        ctx.mark_non_differentiable(mean, variance)
        return normed, mean, variance

    @staticmethod
    def backward(ctx, gradient: Tensor, _mean: Tensor, _variance: Tensor) -> tuple[Tensor, None, None]:
        normed, share, inverse = ctx.saved_tensors
        slope = torch.addcmul(gradient.sum(0), normed, (gradient * normed).sum(0))
        return torch.addcmul(gradient, slope, share[:, None], value=-1) * inverse, None, None
