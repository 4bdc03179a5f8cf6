"""The merges of focal sparse convolution as published: cells meet where the numbers that they are sorted by agree."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perception.sparse.scatter import gather_rows, scatter_sum
from perception.sparse.sites import Sites, lexicographic_order


@dataclass(frozen=True, eq=False)
class Proposals:
    """``cells`` (P, 1 + d) proposed by ``rows`` (P,) of the ``foreground`` (F,) over ``taps`` (P,).

    Foreground and ``background`` (N - F,) are all rows of the given sites; the published merges depend on their order.
    """

    foreground: Tensor
    background: Tensor
    cells: Tensor
    rows: Tensor
    taps: Tensor


@dataclass(frozen=True, eq=False)
class _Runs:
    """``group`` (M,) of each given row; ``first`` and ``last`` (G,): the rows at the ends of each group's run."""

    group: Tensor
    first: Tensor
    last: Tensor


def merge_published(
    sites: Sites, proposals: Proposals, strength: Tensor, rounded: bool
) -> tuple[Sites, Tensor, Tensor]:
    """The grown sites, the row of them that each given row goes to (N,), and the weight of each given row (N, 1).

    First the foreground and its proposals meet and their kernel weights are averaged, ``strength`` (P,) of a proposal
    and 1 of a cell itself; the result meets the background. Where different cells share a number, the first merge
    keeps the coordinates of the first in order, the second those of the last. ``rounded``: the first sorts by the
    number in float32.
    """
    foreground, background = proposals.foreground, proposals.background
    cells = torch.cat([sites.coordinates[foreground], proposals.cells])
    own = strength.new_ones(len(foreground))
    front = _runs(cells, sites.batch_size, rounded)
    total = scatter_sum(torch.cat([own, strength])[:, None], front.group, len(front.first))
    mean = total / front.group.bincount(minlength=len(front.first))[:, None]

    # The first merge leaves its cells in falling order, which decides which of different ones lends its coordinates.
    joined = torch.cat([cells[front.first].flip(0), sites.coordinates[background]])
    whole = _runs(joined, sites.batch_size, False)
    kept = joined[whole.last]
    order = lexicographic_order(kept)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)

    group = front.group[: len(foreground)]
    weight = strength.new_ones((len(sites), 1)).index_copy(0, foreground, gather_rows(mean, group))
    row = torch.empty(len(sites), dtype=torch.int64, device=sites.device)
    row[foreground] = place[whole.group[len(front.first) - 1 - group]]
    row[background] = place[whole.group[len(front.first) :]]
    shape, batch_size = sites.spatial_shape, sites.batch_size
    return Sites(kept[order], shape, batch_size, sites.stride, "lexicographic"), row, weight


def _runs(cells: Tensor, batch_size: int, rounded: bool) -> _Runs:
    """Sort by number in each sample, rows of equal numbers in the order given, and group neighbours of equal number."""
    sample = cells[:, 0].long()
    exact = _numbers(cells.long(), sample, batch_size)
    order = (_numbers(cells.float(), sample, batch_size) if rounded else exact).argsort(stable=True)
    order = order[sample[order].argsort(stable=True)]
    keys, samples = exact[order], sample[order]
    starts = torch.ones(len(order), dtype=torch.bool, device=cells.device)
    starts[1:] = (keys[1:] != keys[:-1]) | (samples[1:] != samples[:-1])
    group = torch.empty_like(order)
    group[order] = starts.cumsum(0) - 1
    begins = starts.nonzero()[:, 0]
    ends = torch.cat([begins[1:], begins.new_full((min(len(order), 1),), len(order))]) - 1
    return _Runs(group, order[begins], order[ends])


def _numbers(cells: Tensor, sample: Tensor, batch_size: int) -> Tensor:
    """z * Y * X + y * X + x, with the largest coordinates of the sample as sizes; rounded at each step as published."""
    largest = cells.new_zeros((batch_size, cells.shape[1]))
    largest = largest.scatter_reduce(0, sample[:, None].expand_as(cells), cells, "amax")[sample]
    z, y, x = cells[:, 1:].unbind(1)
    return z * largest[:, 2] * largest[:, 3] + y * largest[:, 3] + x
