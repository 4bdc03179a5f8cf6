"""Octrees: levels of sites in Morton order with their parents and children; a quadtree in two dimensions.

Only nodes that hold something exist (ocnn's non-empty nodes), down from the leaves, so a level is a ``Sites`` like any
other and convolution, pooling and windows work on it (Wang et al. 2017, O-CNN; Wang 2023, OctFormer).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.sparse.morton import bits_of, morton_keys
from perception.sparse.neighbours import submanifold_table
from perception.sparse.sites import Sites
from perception.sparse.table import NeighbourTable


@dataclass(frozen=True, eq=False)
class Level:
    """The N nodes at one ``depth``: 2^depth cells an axis.

    ``keys`` (N,) int64 ascending, with ``depth`` bits an axis. ``parents`` (N,) int64: node of the level above, none
    at the top. ``children`` (N, 2^d) int64: node of the level below in each octant, -1 where empty, none at the leaves;
    octant 4x + 2y + z, the last bits of the child's key.
    """

    depth: int
    sites: Sites
    keys: Tensor
    parents: Tensor | None
    children: Tensor | None

    def __len__(self) -> int:
        return len(self.sites)

    @property
    def neighbours(self) -> NeighbourTable:
        """The node itself and its neighbours at the same depth: rows (3^d, N), taps in the order of (z, y, x)."""
        dimension = self.sites.dimension
        return submanifold_table(self.sites, (3,) * dimension, (1,) * dimension)


@dataclass(frozen=True, eq=False)
class Octree:
    """``levels`` from the leaves up. ``rows`` (N,) int64: the row of the given sites that each leaf is."""

    levels: tuple[Level, ...]
    rows: Tensor

    @classmethod
    def of(cls, sites: Sites, depth: int | None = None, top: int = 0) -> Octree:
        """All levels from ``depth`` (of the leaves, which are the given sites) up to depth ``top``.

        Without ``depth`` it is the least that holds the grid. Raises PerceptionError for a grid that does not fit.
        """
        least = bits_of(sites)
        depth = least if depth is None else depth
        if depth < least or not 0 <= top <= depth:
            raise PerceptionError(
                f"an octree from depth {depth} up to {top} for a grid of {sites.spatial_shape} cells",
                f"a depth of at least {least} and a top between 0 and the depth",
            )
        keys, rows = morton_keys(sites.coordinates, depth).sort()
        here = _sites(sites.coordinates[rows], depth, sites.stride, sites.batch_size)
        levels, children = [], None
        for number in range(depth, top, -1):
            above, parents, counts = (keys >> sites.dimension).unique_consecutive(True, True)
            levels.append(Level(number, here, keys, parents, children))
            octant = keys & (2**sites.dimension - 1)
            children = keys.new_full((len(above), 2**sites.dimension), -1)
            children[parents, octant] = torch.arange(len(keys), device=keys.device)
            coordinates = here.coordinates[counts.cumsum(0) - counts]
            coordinates[:, 1:] >>= 1
            here = _sites(coordinates, number - 1, tuple(2 * step for step in here.stride), sites.batch_size)
            keys = above
        return cls((*levels, Level(top, here, keys, None, children)), rows)

    def at(self, depth: int) -> Level:
        """The level at one depth."""
        for level in self.levels:
            if level.depth == depth:
                return level
        depths = [level.depth for level in self.levels]
        raise PerceptionError(f"depth {depth}", f"{min(depths)} .. {max(depths)}, the levels of this octree")

    def down_table(self, depth: int) -> NeighbourTable:
        """Nodes at ``depth`` into their parents, as a strided convolution of kernel 2: rows (2^d, M), taps z y x."""
        source, target = self.at(depth), self.at(depth - 1)
        tables, dimension = source.sites.tables, source.sites.dimension
        if "octree down" not in tables:
            assert target.children is not None  # it has the level below
            octants = target.children.T.reshape(*(2,) * dimension, len(target))
            rows = octants.permute(*range(dimension - 1, -1, -1), dimension).reshape(2**dimension, len(target))
            tables["octree down"] = NeighbourTable(rows.to(torch.int32).contiguous(), len(source), target.sites)
        return tables["octree down"]


def _sites(coordinates: Tensor, depth: int, stride: tuple[int, ...], batch_size: int) -> Sites:
    return Sites(coordinates, (2**depth,) * len(stride), batch_size, stride, "morton")
