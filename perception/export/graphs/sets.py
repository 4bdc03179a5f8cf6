"""DSVT's attention in sets, the sets and the places in windows being inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.backbones.attention import PositionEncoding
from perception.backbones.dsvt import DSVTBlock, DSVTLayer, DSVTStageBlocks
from perception.backbones.dsvt_partition import Cells, DSVTStage, WindowPosition
from perception.errors import PerceptionError

Sets = Mapping[str, Tensor]


class SetBlocks(nn.Module):
    """The blocks of one stage on voxels (N, C); ``sets`` by kind and number of the partition (``set_specs``)."""

    def __init__(self, stage: DSVTStageBlocks) -> None:
        super().__init__()
        if stage.pool is not None:
            raise PerceptionError(
                "backbone.stages: attention pooling between stages has no exported form yet",
                "a model of one stage",
                "export a pillar model (dsvt-pillar)",
            )
        blocks: list[DSVTBlock] = list(stage.blocks)  # type: ignore[arg-type]
        self.blocks = nn.ModuleList(SetBlock(block, stage.stage, n % 2) for n, block in enumerate(blocks, stage.first))

    def forward(self, x: Tensor, sets: Sets) -> Tensor:
        for block in self.blocks:
            x = block(x, sets)
        return x


class SetBlock(nn.Module):
    """``DSVTBlock`` on the partition ``active``; the position of a cell in a window is a row of a constant table."""

    def __init__(self, block: DSVTBlock, stage: DSVTStage, active: int) -> None:
        super().__init__()
        self.active, self.layers, self.norm = active, block.layers, block.norm
        self.seen = [axis if block.position_of == "layer" else active for axis in range(2)]
        windows = [(stage.window, stage.shifted_window)[seen] for seen in self.seen]
        tables = [place_vectors(position, window) for position, window in zip(block.positions, windows)]
        self.places = nn.ParameterList(nn.Parameter(table) for table in tables)

    def forward(self, x: Tensor, sets: Sets) -> Tensor:
        before = x
        for axis, (layer, table) in enumerate(zip(self.layers, self.places)):
            position = table.index_select(0, sets[f"cell{self.seen[axis]}"])
            x = set_layer(layer, x, position, sets, self.active, axis)  # type: ignore[arg-type]
        return self.norm(x + before)


def set_layer(layer: DSVTLayer, x: Tensor, position: Tensor, sets: Sets, active: int, axis: int) -> Tensor:
    """What ``DSVTLayer`` does on one partition, axis 0 or 1 of its sets."""
    inner, rows = layer.attention, sets[f"rows{active}"][axis]
    attention, channels = inner.attention, x.shape[1]
    queries, keys = attention.queries_keys(x + position).chunk(2, 1)
    asked, known, told = (
        part.index_select(0, rows.reshape(-1)).reshape(-1, rows.shape[1], channels)
        for part in (queries, keys, attention.values(x))
    )
    mask = torch.logical_not(sets[f"repeated{active}"][axis])[:, None]
    found = attention.attend(asked, known, told, mask).reshape(-1, channels)
    found = attention.out(found.index_select(0, sets[f"slot{active}"][axis]))
    x1 = inner.norm1(x + found)
    x1 = inner.norm2(x1 + inner.linear2(F.gelu(inner.linear1(x1))))
    return layer.norm(x1 + x)


def place_vectors(position: nn.Module, window: Cells) -> Tensor:
    """The vectors (cells, C) of all places in a window, z slowest."""
    assert isinstance(position, WindowPosition)
    every = torch.arange(math.prod(window))
    length, width = window[1:]
    place = torch.stack([every // (length * width), every // width % length, every % width], 1)
    with torch.no_grad():
        return PositionEncoding.forward(position, position._location(place, window)).clone()
