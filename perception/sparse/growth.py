"""Growth of sites where features are important: the geometry of focal sparse convolution.

Chen, Li, Zhang, Sun, Jia, "Focal sparse convolutional networks for 3D object detection", CVPR 2022, section 3.2: the
important part of the cells may spread to all of its kernel's neighbours, each if its own predicted importance says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from perception.sparse.growth_kernels import spread_rows
from perception.sparse.growth_merge import Proposals, merge_published
from perception.sparse.neighbours import centred_steps, plain_find
from perception.sparse.scatter import scatter_sum
from perception.sparse.sites import Sites, coordinates_of, linear_keys
from perception.sparse.table import NeighbourTable
from perception.threads import fair, run_shares

Merge = Literal["coordinates", "int64_exact", "float32_stable", "doubled"]
"""How proposals for a cell meet. ``coordinates`` compares cells. The other two compare the number that the published
code sorts cells by, z * Y * X + y * X + x with the largest y and x present as Y and X: at the far edges of the occupied
range it is the same for different cells, which are then added up. ``float32_stable`` also rounds it as published, so
that some proposals for one cell do not meet while weights are averaged; trained weights have seen this form.
``doubled``: a background cell that is proposed stays beside its proposal, see ``growth_doubled``."""


@dataclass(frozen=True, eq=False)
class Growth:
    """``sites`` after growth; ``source``: those of them that carry features, all others start from zero.

    ``row`` (N,) int64 is the row of ``source`` that each row of the given sites is added to, None for its own;
    ``weight`` (N, 1) multiplies its features: the mean of the importances that proposed its cell, itself counted as 1.
    ``doubled`` (D,): ascending rows of the given sites that are beside a proposal for the same cell, None if they met.
    """

    sites: Sites
    source: Sites
    row: Tensor | None
    weight: Tensor
    doubled: Tensor | None = None


def by_share(importance: Tensor, sites: Sites, share: float) -> tuple[Tensor, Tensor]:
    """Rows of the floor(``share`` * n) most important cells of each sample, and of the rest.

    Both by falling importance; equals keep their order.
    """
    falling = importance.detach().argsort(descending=True, stable=True)
    falling = falling[sites.coordinates[falling, 0].argsort(stable=True)]
    counts = sites.rows_per_sample
    rank = torch.arange(len(falling), device=falling.device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    chosen = (counts.double() * share).floor().long()
    front = rank < chosen.repeat_interleave(counts)
    return falling[front], falling[~front]


def by_threshold(importance: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Rows of the cells whose importance exceeds ``threshold``, and of the rest."""
    front = importance.detach() > threshold
    return front.nonzero()[:, 0], (~front).nonzero()[:, 0]


def propose(sites: Sites, split: tuple[Tensor, Tensor], importance: Tensor, kernel: int, threshold: float) -> Proposals:
    """Neighbours of foreground rows whose ``importance`` (N, kernel^d - 1) is at least ``threshold``.

    ``split``: the rows of the foreground and those of the background. Columns are the kernel's offsets in lexicographic
    order without the centre. As published, the first cell of each axis is never proposed.
    """
    steps = centred_steps((kernel,) * sites.dimension, (1,) * sites.dimension)
    steps.remove([0] * sites.dimension)
    foreground, background = split
    owner, tap = (importance.detach()[foreground] >= threshold).nonzero().unbind(1)
    offset = sites.coordinates.new_tensor([[0, *step] for step in steps])
    rows = foreground[owner]
    cells = sites.coordinates[rows] + offset[tap]
    limit = cells.new_tensor(sites.spatial_shape)
    inside = ((cells[:, 1:] > 0) & (cells[:, 1:] < limit)).all(1).nonzero()[:, 0]
    return Proposals(foreground, background, cells[inside], rows[inside], tap[inside])


def grow(
    sites: Sites,
    split: tuple[Tensor, Tensor],
    importance: Tensor,
    kernel: int,
    threshold: float,
    merge: Merge = "coordinates",
) -> Growth:
    """``sites`` and the cells that their foreground proposes; arguments as of ``propose``."""
    proposals = propose(sites, split, importance, kernel, threshold)
    strength = importance[proposals.rows, proposals.taps]
    if merge in ("coordinates", "doubled"):
        return _merge_cells(sites, proposals, strength, merge == "doubled")
    grown, row, weight = merge_published(sites, proposals, strength, rounded=merge == "float32_stable")
    occupied, row = row.unique(return_inverse=True)
    source = Sites(grown.coordinates[occupied], grown.spatial_shape, grown.batch_size, grown.stride, grown.order)
    return Growth(grown, source, row, weight)


def _merge_cells(sites: Sites, proposals: Proposals, strength: Tensor, doubled: bool) -> Growth:
    """Both merges at once: a look-up in the given cells, and the union with what is found nowhere."""
    ordered, rows = sites.sorted_keys
    keys = linear_keys(proposals.cells, sites.spatial_shape, sites.batch_size)
    place = torch.searchsorted(ordered, keys).clamp_(max=max(len(ordered) - 1, 0))
    known = ordered[place] == keys
    hit = rows[place[known]]
    total = scatter_sum(strength[known][:, None], hit, len(sites))
    count = torch.bincount(hit, minlength=len(sites))[:, None]
    front = torch.zeros(len(sites), dtype=torch.bool, device=sites.device)
    front[proposals.foreground] = True
    weight = torch.where(front[:, None], (1 + total) / (1 + count), 1.0)

    new = keys[~known].unique()
    merged = torch.empty(len(ordered) + len(new), dtype=torch.int64, device=sites.device)
    merged[torch.arange(len(new), device=sites.device) + torch.searchsorted(ordered, new)] = new
    merged[torch.arange(len(ordered), device=sites.device) + torch.searchsorted(new, ordered)] = ordered
    shape, batch_size, stride = sites.spatial_shape, sites.batch_size, sites.stride
    grown = Sites(coordinates_of(merged, shape), shape, batch_size, stride, "lexicographic")
    beside = (~front & (count[:, 0] > 0)).nonzero()[:, 0] if doubled else None
    return Growth(grown, sites, None, weight, beside)


def spread_table(growth: Growth, kernel: int) -> NeighbourTable:
    """The pairs of a submanifold convolution on the grown sites, without those that read the zeros of new cells."""
    dimension = growth.sites.dimension
    steps = centred_steps((kernel,) * dimension, (1,) * dimension)
    if growth.sites.device.type == "cpu" and growth.source.order == "lexicographic":
        rows = _compiled_spread(growth, steps, kernel)
    else:
        rows = plain_find(growth.source, growth.sites, steps, (1,) * dimension)
    return NeighbourTable(rows, len(growth.source), growth.sites)


def _compiled_spread(growth: Growth, steps: list[list[int]], kernel: int) -> Tensor:
    """What ``plain_find`` answers, for sites in lexicographic order on the CPU."""
    sites, source = growth.sites, growth.source
    rows = torch.empty((len(steps), len(sites)), dtype=torch.int32)
    numbers = np.array(steps), kernel, np.array(sites.spatial_shape), rows.numpy()
    arrays = sites.coordinates.numpy(), sites.keys.numpy(), source.keys.numpy(), *numbers
    shares = fair(np.full(len(steps) // kernel, kernel * len(sites)), 2**17)
    run_shares(spread_rows, [(*arrays, *share) for share in shares])
    return rows
