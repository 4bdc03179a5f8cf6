"""From features of voxels or pillars to the motion of points (N, 3), metres, beyond the ego motion."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from perception.dense import Linear
from perception.sparse.scatter import gather_rows

OffsetLookup = Literal["point", "official_voxel_row"]


class FlowMLP(nn.Module):
    """``features`` (M, C) of places and ``offset`` (N, 3) of points: linear to 32, GELU, linear to 3.

    ``encode``, a linear layer, widens the offset first. Layers without anything between them are multiplied out, and
    what depends on the place alone is computed once a place, not once a point.
    """

    def __init__(self, features: int, offset: int, hidden: int = 32) -> None:
        super().__init__()
        self.split = (features, offset)
        self.hidden = Linear(features + offset, hidden)
        self.out = Linear(hidden, 3)

    def forward(self, features: Tensor, place: Tensor, offset: Tensor, encode: nn.Linear) -> Tensor:
        """``place`` (N,): the row of ``features`` that each point belongs to."""
        of_places, of_points = self.hidden.weight.split(self.split, 1)
        constant = self.hidden.bias + of_points @ encode.bias
        of_place = torch.addmm(constant, features, of_places.t())
        hidden = torch.addmm(gather_rows(of_place, place), offset, (of_points @ encode.weight).t())
        return self.out(nn.functional.gelu(hidden))


class VoxelFlowHead(nn.Module):
    """SSF's head: encoder's and U-Net's features of a voxel, and the point's offset from its centre."""

    def __init__(self, features: int, offset: int = 64, lookup: OffsetLookup = "point") -> None:
        super().__init__()
        self.lookup = lookup
        self.offset = Linear(3, offset)
        self.mlp = FlowMLP(features, offset)

    def forward(self, features: Tensor, voxel: Tensor, offset: Tensor) -> Tensor:
        """``features`` (M, C) of voxels, ``voxel`` (N,) and ``offset`` (N, 3) of points."""
        if self.lookup == "official_voxel_row":
            offset = official_offsets(offset, voxel, len(features))
        return self.mlp(features, voxel, offset, self.offset)


def official_offsets(offset: Tensor, voxel: Tensor, voxels: int) -> Tensor:
    """What the published SSF takes for each point's offset: that of the point whose *row* is the number of its voxel.

    All points of a voxel thus share the offset of one unrelated point, and zeros where there are fewer points than
    voxels. Released weights were trained with it.
    """
    short = max(voxels - len(offset), 0)
    table = torch.cat([offset, offset.new_zeros((short, 3))])
    return table.index_select(0, voxel)


class LinearFlowHead(nn.Module):
    """FastFlow3D's head: a pillar's features and the point's offset, side by side."""

    def __init__(self, features: int = 128, offset: int = 128) -> None:
        super().__init__()
        self.offset = Linear(3, offset)
        self.mlp = FlowMLP(features, offset)

    def forward(self, features: Tensor, voxel: Tensor, offset: Tensor) -> Tensor:
        return self.mlp(features, voxel, offset, self.offset)


class GRUFlowHead(nn.Module):
    """DeFlow's head: a gated recurrent unit refines a pillar's features with the point's offset, a few times over.

    Zhang et al. 2024, section III-C, figure 3.
    """

    def __init__(self, features: int = 128, offset: int = 64, iterations: int = 4) -> None:
        super().__init__()
        self.iterations = iterations
        self.offset = Linear(3, offset)
        self.update = Linear(features + offset, features)
        self.reset = Linear(features + offset, features)
        self.candidate = Linear(features + offset, features)
        self.mlp = nn.Sequential(Linear(features + offset, 32), nn.GELU(), Linear(32, 3))

    def forward(self, features: Tensor, voxel: Tensor, offset: Tensor) -> Tensor:
        state, given = gather_rows(features, voxel), self.offset(offset)
        width = state.shape[1]
        weight = torch.cat([self.update.weight, self.reset.weight])
        # What the offset adds to gates and candidate is the same in every round.
        gates = nn.functional.linear(given, weight[:, width:], torch.cat([self.update.bias, self.reset.bias]))
        candidate = nn.functional.linear(given, self.candidate.weight[:, width:], self.candidate.bias)
        for _ in range(self.iterations):
            update, reset = (gates + state @ weight[:, :width].t()).sigmoid().chunk(2, 1)
            proposed = (candidate + (reset * state) @ self.candidate.weight[:, :width].t()).tanh()
            state = state + update * (proposed - state)
        return self.mlp(torch.cat([state, given], 1))
