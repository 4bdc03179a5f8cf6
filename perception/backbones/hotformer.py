"""HOTFormer: octree attention on a pyramid whose windows speak through relay tokens (HOTFormerLoc, Griffiths et al.,
CVPR 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.backbones.octformer import (
    MLP,
    DropPath,
    OctFormerBlock,
    OctFormerStage,
    OctreeDown,
    OctreeStem,
    PositionConv,
)
from perception.backbones.octree_input import OctreeCloud
from perception.backbones.octree_windows import ELSEWHERE, Extent, OctreeWindows, octree_windows
from perception.dense import Linear
from perception.sparse import Octree, Sites
from perception.sparse.scatter import scatter_mean, scatter_sum


@dataclass(frozen=True, eq=False)
class PyramidLevel:
    """``features`` (N, C) of the nodes at one depth and ``tokens`` (W, C) of their windows."""

    depth: int
    sites: Sites
    windows: OctreeWindows
    features: Tensor
    tokens: Tensor


@dataclass(frozen=True, eq=False)
class Gathering:
    """Tokens (T,) cloud by cloud: ``rows`` (B, L) with T where there is none, ``slot`` (T,), ``mask`` (B, 1, 1, L)."""

    rows: Tensor
    slot: Tensor
    mask: Tensor

    @classmethod
    def of(cls, group: Tensor, groups: int) -> Gathering:
        """Rows by their ``group`` (T,)."""
        counts = group.bincount(minlength=groups)
        length = int(counts.max()) if len(group) else 0
        order = group.sort(stable=True).indices
        rank = torch.arange(len(group), device=group.device) - (counts.cumsum(0) - counts)[group[order]]
        places = group[order] * length + rank
        rows = group.new_full((groups * length,), len(group)).index_copy(0, places, order).view(groups, length)
        slot = torch.empty_like(group).index_copy(0, order, places)
        return cls(rows, slot, ((rows == len(group)) * ELSEWHERE)[:, None, None])

    def take(self, values: Tensor) -> Tensor:
        """(T, C) -> (B, L, C), zeros where there is none."""
        return F.pad(values, (0, 0, 0, 1)).index_select(0, self.rows.flatten()).view(*self.rows.shape, -1)


class RelayBlock(nn.Module):
    """Attention among all relay tokens of a cloud, of all levels, and an MLP, each after a layer norm."""

    def __init__(self, channels: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(channels)
        self.project = Linear(channels, 3 * channels)
        self.out = Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels, 4 * channels, channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor, owners: Tensor, gathering: Gathering, batch_size: int) -> Tensor:
        tokens = tokens + self.drop_path(self._attend(self.norm1(tokens), gathering), owners, batch_size)
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)), owners, batch_size)

    def _attend(self, tokens: Tensor, gathering: Gathering) -> Tensor:
        split = gathering.take(self.project(tokens)).unflatten(-1, (3, self.heads, -1))
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=gathering.mask.to(queries.dtype))
        return self.out(found.transpose(1, 2).flatten(2).flatten(0, 1).index_select(0, gathering.slot))


class RelayTokens(nn.Module):
    """A token for each window: the mean of its nodes, with what the network knows of where they are.

    With ``distribution`` that is an MLP of their mean and covariance (ADaPE, section 3.3 of the paper), otherwise a
    depthwise convolution before the mean.
    """

    def __init__(self, channels: int, distribution: bool) -> None:
        super().__init__()
        self.distribution = MLP(9, channels, channels) if distribution else None
        self.position = None if distribution else PositionConv(channels)

    def forward(self, features: Tensor, sites: Sites, depth: int, windows: OctreeWindows) -> Tensor:
        if self.position is not None:
            features = self.position(features, sites)
        window = windows.slot.div(windows.size, rounding_mode="floor")
        own = (sites.coordinates[:, 0] == windows.owners[window]).nonzero()[:, 0]
        tokens = scatter_mean(features.index_select(0, own), window[own], len(windows))
        if self.distribution is None:
            return tokens
        # The published code takes the lower corners of the cells, not their centres.
        corners = sites.coordinates[own, 1:].flip(1).to(features.dtype) * 2.0 ** (1 - depth) - 1.0
        return tokens + self.distribution(distribution(corners, window[own], len(windows)))


def distribution(points: Tensor, group: Tensor, groups: int) -> Tensor:
    """Mean (3) and covariance (xx xy xz yy yz zz) of the points (N, 3) of each group: (groups, 9).

    The covariance is unbiased, and zero for fewer than two points.
    """
    mean = scatter_mean(points, group, groups)
    apart = points - mean[group]
    products = apart[:, [0, 0, 0, 1, 1, 2]] * apart[:, [0, 1, 2, 1, 2, 2]]
    fewer = (group.bincount(minlength=groups) - 1).clamp(min=1)
    return torch.cat([mean, scatter_sum(products, group, groups) / fewer[:, None]], 1)


class HOTFormerStage(nn.Module):
    """Three levels of an octree, each node in a window of its level, all windows through their relay tokens."""

    def __init__(
        self, channels: int, heads: int, size: int, levels: int, distribution: bool, drop_paths: Sequence[float]
    ) -> None:
        super().__init__()
        self.tokens = RelayTokens(channels, distribution)
        self.downs = nn.ModuleList(OctreeDown(channels, channels, bias=True, rectify=False) for _ in range(levels - 1))
        self.relays = nn.ModuleList(RelayBlock(channels, heads, rate) for rate in drop_paths)
        self.levels = nn.ModuleList(
            nn.ModuleList(OctFormerBlock(channels, heads, size, drop_path=rate) for rate in drop_paths)
            for _ in range(levels)
        )

    def forward(self, features: Tensor, octree: Octree, windows: dict[int, OctreeWindows]) -> list[PyramidLevel]:
        """``windows`` of each level by depth, finest first; ``features`` are those of the finest."""
        pyramid = self._begin(features, octree, windows)
        owners = torch.cat([level.windows.owners for level in pyramid])
        batch_size = pyramid[0].sites.batch_size
        # Windows without nodes have tokens too; they speak with each other alone, after the last cloud.
        gathering = Gathering.of(owners, batch_size + 1)
        for number, relay in enumerate(self.relays):
            tokens = relay(torch.cat([level.tokens for level in pyramid]), owners, gathering, batch_size)
            parts = tokens.split([len(level.windows) for level in pyramid])
            for place, (blocks, level, part) in enumerate(zip(self.levels, pyramid, parts)):
                found = blocks[number](level.features, level.sites, level.windows, part)  # type: ignore[index]
                pyramid[place] = PyramidLevel(level.depth, level.sites, level.windows, *found)
        return pyramid

    def _begin(self, features: Tensor, octree: Octree, windows: dict[int, OctreeWindows]) -> list[PyramidLevel]:
        pyramid: list[PyramidLevel] = []
        for depth, own in windows.items():
            if pyramid:
                features = self.downs[len(pyramid) - 1](features, octree, depth + 1)
            sites = octree.at(depth).sites
            pyramid.append(PyramidLevel(depth, sites, own, features, self.tokens(features, sites, depth, own)))
        return pyramid


class HOTFormer(nn.Module):
    """Stem, an OctFormer stage, and the pyramid: channels and blocks of the two stages; an ``extent`` of windows."""

    def __init__(
        self,
        channels: tuple[int, int],
        heads: tuple[int, int],
        blocks: tuple[int, int],
        size: int,
        dilation: int,
        levels: int,
        distribution: bool,
        drop_path: float,
        extent: Extent,
    ) -> None:
        super().__init__()
        rates = [drop_path * number / max(sum(blocks) - 1, 1) for number in range(sum(blocks))]
        self.size, self.dilation, self.number, self.extent = size, dilation, levels, extent
        self.stem = OctreeStem(3, channels[0])
        self.local = OctFormerStage(channels[0], heads[0], size, dilation, rates[: blocks[0]])
        self.down = OctreeDown(channels[0], channels[1], bias=True, rectify=False)
        self.pyramid = HOTFormerStage(channels[1], heads[1], size, levels, distribution, rates[blocks[0] :])
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, cloud: OctreeCloud) -> list[PyramidLevel]:
        """Levels of the pyramid, finest first."""
        octree, depth = cloud.octree, cloud.depth - 2
        features = self.stem(cloud.features, octree, cloud.depth)
        level = octree.at(depth)
        windows = octree_windows(level, self.size, self.dilation, self.extent)
        features = self.down(self.local(features, level.sites, windows), octree, depth)
        depths = range(depth - 1, depth - 1 - self.number, -1)
        runs = {d: octree_windows(octree.at(d), self.size, self.dilation, self.extent, True) for d in depths}
        return self.pyramid(features, octree, runs)
