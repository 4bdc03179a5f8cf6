"""OctFormer: attention in windows along an octree's Morton curve (Wang, SIGGRAPH 2023)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.backbones.octree_bias import position_bias
from perception.backbones.octree_windows import OctreeWindows, dilated
from perception.dense import Linear
from perception.errors import PerceptionError
from perception.sparse import DepthwiseConv, Octree, Sites, SparseTensor, SubmanifoldConv
from perception.sparse.conv import SparseLayer


class OctreeConv(nn.Module):
    """Convolution with the 27 nodes around, layer norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = SubmanifoldConv(inputs, outputs, 3)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, features: Tensor, sites: Sites) -> Tensor:
        return self.norm(self.conv(SparseTensor(features, sites)).features).relu()


class _DownConv(SparseLayer):
    def apply(self, features: Tensor, octree: Octree, depth: int) -> Tensor:  # type: ignore[override]
        return self._multiply(features, octree.down_table(depth), octree.at(depth).sites).features


class OctreeDown(nn.Module):
    """The eight children of a node into it, layer norm and, if ``rectify``, ReLU: from ``depth`` to the one above."""

    def __init__(self, inputs: int, outputs: int, bias: bool, rectify: bool) -> None:
        super().__init__()
        self.conv = _DownConv(inputs, outputs, 2, bias=bias)
        self.norm = nn.LayerNorm(outputs)
        self.rectify = rectify

    def forward(self, features: Tensor, octree: Octree, depth: int) -> Tensor:
        found = self.norm(self.conv.apply(features, octree, depth))
        return found.relu() if self.rectify else found


class OctreeStem(nn.Module):
    """Two halvings of the octree, each after a convolution, and a convolution: as many channels double each time."""

    def __init__(self, inputs: int, channels: int, halvings: int = 2) -> None:
        super().__init__()
        widths = [channels // 2 ** (halvings - step) for step in range(halvings + 1)]
        firsts = [inputs, *widths[1:-1]]
        self.convs = nn.ModuleList(OctreeConv(first, width) for first, width in zip(firsts, widths))
        self.downs = nn.ModuleList(
            OctreeDown(width, wider, bias=False, rectify=True) for width, wider in itertools.pairwise(widths)
        )
        self.out = OctreeConv(channels, channels)

    def forward(self, features: Tensor, octree: Octree, depth: int) -> Tensor:
        for conv, down in zip(self.convs, self.downs):
            features = down(conv(features, octree.at(depth).sites), octree, depth)
            depth -= 1
        return self.out(features, octree.at(depth).sites)


class PositionConv(nn.Module):
    """What a node knows of its position by its neighbours: a depthwise convolution and layer norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = DepthwiseConv(channels, 3)
        self.norm = nn.LayerNorm(channels)

    def forward(self, features: Tensor, sites: Sites) -> Tensor:
        return self.norm(self.conv(SparseTensor(features, sites)).features)


class DropPath(nn.Module):
    """In training, leaves a residual out with probability ``rate``, cloud by cloud, and makes up for it in the others.

    Stochastic depth (Huang et al. 2016). ``samples`` (N,) past the last cloud (empty windows) go with the last one.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise PerceptionError(f"a drop rate of {rate}", "0 <= rate < 1")
        self.rate = rate

    def forward(self, residual: Tensor, samples: Tensor, batch_size: int) -> Tensor:
        if not self.training or self.rate == 0:
            return residual
        kept = (torch.rand(batch_size, device=residual.device) >= self.rate) / (1 - self.rate)
        return residual * kept[samples.clamp(max=batch_size - 1), None].to(residual.dtype)

    def extra_repr(self) -> str:
        return f"rate {self.rate:.3f}"


class MLP(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.first = Linear(inputs, hidden)
        self.second = Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.gelu(self.first(x)))


class WindowAttention(nn.Module):
    """Multi-head attention in windows, with a learned bias by distance along each axis (tables one after another)."""

    def __init__(self, channels: int, heads: int, size: int, dilation: int = 1) -> None:
        super().__init__()
        self.heads, self.bound = heads, int(0.8 * size * dilation**0.5)
        self.project = Linear(channels, 3 * channels)
        self.out = Linear(channels, channels)
        self.table = nn.Parameter(torch.empty(3 * (2 * self.bound + 1), heads))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, values: Tensor, windows: OctreeWindows) -> Tensor:
        """Nodes, tokens (where windows have them) and one row for empty slots (R, C) -> nodes and tokens."""
        sequence = windows.sequence
        projected = self.project(values).index_select(0, sequence.flatten())
        split = projected.view(*sequence.shape, 3, self.heads, -1)
        queries, keys, answers = split.permute(2, 0, 3, 1, 4)
        plain = values.device.type != "cpu" or torch.is_grad_enabled()
        bias = self.bias(windows) if plain else position_bias(windows, self.table)
        found = F.scaled_dot_product_attention(queries, keys, answers, attn_mask=bias.to(queries.dtype))
        return self.out(found.transpose(1, 2).flatten(2).flatten(0, 1).index_select(0, windows.places))

    def bias(self, windows: OctreeWindows) -> Tensor:
        """What is added to the scores (W, heads, L, L): by distance, and against other clouds; tokens have no place."""
        number, size = windows.rows.shape
        table = self.table.float()
        found = F.embedding_bag(windows.pairs(self.bound), table, mode="sum").view(number, size, size, self.heads)
        if windows.with_tokens:
            found = F.pad(found, (0, 0, 1, 0, 1, 0))
        shared, elsewhere = windows.shared
        if len(shared):
            found = found.index_add(0, shared, elsewhere[..., None].expand(-1, -1, -1, self.heads).to(found.dtype))
        return found.permute(0, 3, 1, 2)


class OctFormerBlock(nn.Module):
    """Position by convolution, then attention and an MLP, each after a layer norm and beside the identity.

    Relay tokens of the windows, where there are any, take part in both (HOTFormerLoc's hierarchical windows).
    """

    def __init__(self, channels: int, heads: int, size: int, dilation: int = 1, drop_path: float = 0.0) -> None:
        super().__init__()
        self.position = PositionConv(channels)
        self.norm1 = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, heads, size, dilation)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels, 4 * channels, channels)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, features: Tensor, sites: Sites, windows: OctreeWindows, tokens: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        features = features + self.position(features, sites)
        number, samples = len(features), sites.coordinates[:, 0].long()
        if tokens is not None:
            features, samples = torch.cat([features, tokens]), torch.cat([samples, windows.owners])
        # Empty slots are zeros before the norm, and its bias after it: one row stands for all of them.
        normed = self.norm1(F.pad(features, (0, 0, 0, 1)))
        features = features + self.drop_path(self.attention(normed, windows), samples, sites.batch_size)
        features = features + self.drop_path(self.mlp(self.norm2(features)), samples, sites.batch_size)
        return features[:number], None if tokens is None else features[number:]


class OctFormerStage(nn.Module):
    """Blocks at one depth, in plain and dilated windows by turns; ``drop_paths`` has one rate a block."""

    def __init__(self, channels: int, heads: int, size: int, dilation: int, drop_paths: Sequence[float]) -> None:
        super().__init__()
        self.dilation = dilation
        self.blocks = nn.ModuleList(
            OctFormerBlock(channels, heads, size, dilation if number % 2 else 1, rate)
            for number, rate in enumerate(drop_paths)
        )

    def forward(self, features: Tensor, sites: Sites, windows: OctreeWindows) -> Tensor:
        """``windows`` are plain ones, filled up for this stage's dilation."""
        kinds = windows, dilated(windows, self.dilation)
        for number, block in enumerate(self.blocks):
            features, _ = block(features, sites, kinds[number % 2])
        return features
