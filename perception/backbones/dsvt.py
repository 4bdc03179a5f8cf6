"""Dynamic sparse voxel transformer: attention in sets of voxels, turned at each layer (Wang et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.backbones.attention import Attention, masked, xavier
from perception.backbones.dsvt_partition import DSVTStage, WindowPosition
from perception.backbones.dsvt_pruning import only_sets, strongest_sets
from perception.dense import Linear
from perception.errors import PerceptionError
from perception.sparse import AttentionPool, SparseTensor, VoxelSets

PositionOf = Literal["layer", "partition"]


class SetAttention(nn.Module):
    """Attention among the voxels of each set, added to them, and a feed-forward network; norms after each."""

    def __init__(self, channels: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.attention = Attention(channels, heads)
        self.norm1 = nn.LayerNorm(channels)
        self.linear1 = Linear(channels, feedforward)
        self.linear2 = Linear(feedforward, channels)
        self.norm2 = nn.LayerNorm(channels)

    def forward(self, x: Tensor, position: Tensor, sets: VoxelSets, axis: int) -> Tensor:
        x = self.norm1(x + self._attend(x, position, sets, axis))
        return self.norm2(x + self.linear2(F.gelu(self.linear1(x))))

    def _attend(self, x: Tensor, position: Tensor, sets: VoxelSets, axis: int) -> Tensor:
        if not len(x):
            return self.attention(x[None], x[None], x[None])[0]
        # Slots repeat voxels, several times where windows are nearly empty: project voxels, then fill the slots.
        queries, keys = self.attention.queries_keys(x + position).chunk(2, 1)
        queries, keys, values = (sets.take(part, axis) for part in (queries, keys, self.attention.values(x)))
        found = self.attention.attend(queries, keys, values, masked(sets.repeated[axis]))
        return self.attention.out(sets.put_back(found, axis))


class DSVTLayer(nn.Module):
    """Set attention around which the input is added once more, with a norm of its own."""

    def __init__(self, channels: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.attention = SetAttention(channels, heads, feedforward)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, position: Tensor, sets: VoxelSets, axis: int) -> Tensor:
        return self.norm(self.attention(x, position, sets, axis) + x)


class DSVTBlock(nn.Module):
    """Two layers on one partition: sets that go along y first, then along x first; the input added at the end.

    ``pruned``: the share of sets that each layer leaves out in use; their voxels pass it as they are.
    """

    def __init__(self, channels: int, heads: int, feedforward: int, stage: DSVTStage, position_of: PositionOf) -> None:
        super().__init__()
        self.position_of, self.pruned = position_of, 0.0
        self.positions = nn.ModuleList(WindowPosition(channels, w) for w in (stage.window, stage.shifted_window))
        self.layers = nn.ModuleList(DSVTLayer(channels, heads, feedforward) for _ in range(2))
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: SparseTensor, partitions: Sequence[VoxelSets], active: int) -> SparseTensor:
        """``active``: which of the two partitions the block works on."""
        if self.pruned and not self.training and len(x.features):
            return self._pruned(x, partitions, active)
        features = x.features
        for axis, (layer, position) in enumerate(zip(self.layers, self.positions)):
            seen = axis if self.position_of == "layer" else active
            features = layer(features, position(partitions[seen].windows), partitions[active], axis)
        return x.with_features(self.norm(features + x.features))

    def _pruned(self, x: SparseTensor, partitions: Sequence[VoxelSets], active: int) -> SparseTensor:
        """Voxels that both layers leave out leave the block as they came, without its norm."""
        features, sets, sample = x.features, partitions[active], x.sites.coordinates[:, 0]
        touched = torch.zeros(len(features), dtype=torch.bool, device=features.device)
        for axis, (layer, position) in enumerate(zip(self.layers, self.positions)):
            seen = axis if self.position_of == "layer" else active
            rows, few = only_sets(sets, axis, strongest_sets(features, sample, sets, axis, self.pruned))
            places = position(partitions[seen].windows)
            features = features.index_copy(0, rows, layer(features[rows], places[rows], few, 0))
            touched[rows] = True
        rows = touched.nonzero()[:, 0]
        return x.with_features(x.features.index_copy(0, rows, self.norm(features[rows] + x.features[rows])))


class DSVTStageBlocks(nn.Module):
    """The blocks of a stage, on alternating partitions, and the pooling behind them.

    ``first`` is the number of the stage's first block, counted through all stages: the partitions alternate on.
    """

    def __init__(
        self, channels: int, heads: int, feedforward: int, stage: DSVTStage, position_of: PositionOf, first: int
    ) -> None:
        super().__init__()
        self.stage, self.first = stage, first
        self.blocks = nn.ModuleList(
            DSVTBlock(channels, heads, feedforward, stage, position_of) for _ in range(stage.blocks)
        )
        self.pool = AttentionPool(channels, stage.pool, heads=8) if stage.pool else None

    def forward(self, x: SparseTensor) -> SparseTensor:
        partitions = self.stage.partitions(x.sites)
        for number, block in enumerate(self.blocks, self.first):
            x = block(x, partitions, number % 2)
        return self.pool(x) if self.pool is not None else x


class DSVTBackbone(nn.Module):
    """Voxel features (N, channels) to features of the same width on the sites that the poolings leave.

    ``position_of``: which partition's window a layer takes its voxels' positions from. The published code takes layer
    i's from partition i whatever the block works on (an oversight that its weights have learned to live with):
    ``layer``. ``partition`` is the repaired form, for training from scratch. ``pruned``: as ``DSVTBlock`` describes.
    """

    def __init__(
        self,
        channels: int,
        stages: Sequence[DSVTStage],
        heads: int = 8,
        feedforward: int = 384,
        position_of: PositionOf = "layer",
        pruned: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= pruned < 1:
            raise PerceptionError(f"pruned = {pruned}", "a share of sets from 0 to below 1", "0 leaves none out")
        self.channels = channels
        self.stages = nn.ModuleList()
        first = 0
        for stage in stages:
            self.stages.append(DSVTStageBlocks(channels, heads, feedforward, stage, position_of, first))
            first += stage.blocks
        for module in self.modules():
            if isinstance(module, DSVTBlock):
                module.pruned = pruned
        xavier(self)

    def forward(self, voxels: SparseTensor) -> SparseTensor:
        for stage in self.stages:
            voxels = stage(voxels)
        return voxels
