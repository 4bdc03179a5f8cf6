"""The transformer decoder of TransFusion: queries look at each other, then at the map (Bai et al., CVPR 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perception.backbones.attention import Attention, PositionEncoding, xavier
from perception.dense import Linear


class QueryDecoder(nn.Module):
    """One decoder layer with norms behind its three parts; positions are added to values as well, as published."""

    def __init__(self, channels: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.self_position = PositionEncoding(2, channels)
        self.cross_position = PositionEncoding(2, channels)
        self.self_attention = Attention(channels, heads, dropout)
        self.cross_attention = Attention(channels, heads, dropout)
        self.linear1, self.linear2 = Linear(channels, feedforward), Linear(feedforward, channels)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.dropout = nn.Dropout(dropout)
        xavier(self)

    def forward(
        self, queries: Tensor, query_xy: Tensor, cells: Tensor, cell_xy: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Queries (B, P, C) at ``query_xy`` (B, P, 2) and map cells (B, N, C) at ``cell_xy`` (N, 2) -> (B, P, C).

        With a ``mask`` (B, P, N), True where a query may look, queries do not see each other either: the published
        local form decodes each alone.
        """
        position = self.self_position(query_xy)
        located = queries + position
        if mask is not None:
            located = located.flatten(0, 1)[:, None]
        seen = self.self_attention(located, located, located).view_as(queries)
        queries = self.norm1(queries + self.dropout(seen))

        keys, values = self.cross_attention.keys_values(cells + self.cross_position(cell_xy)).chunk(2, -1)
        found = self.cross_attention.attend(self.cross_attention.queries(queries + position), keys, values, mask)
        queries = self.norm2(queries + self.dropout(self.cross_attention.out(found)))
        hidden = self.dropout(self.linear1(queries).relu())
        return self.norm3(queries + self.dropout(self.linear2(hidden)))


def neighbourhood(cell: Tensor, shape: tuple[int, int], radius: int, wrapped: bool = True) -> Tensor:
    """Which cells of a map (H, W) each query sees: those within ``radius`` on both axes of its ``cell`` (B, P).

    (B, P, H * W) bool; ``cell`` counts y * W + x. ``wrapped``: at the map's low and high y the square goes on in the
    next column, as the index arithmetic of DSVT's published head has it; False cuts it at the border.
    """
    height, width = shape
    steps = torch.arange(-radius, radius + 1, device=cell.device)
    x = (cell % width)[..., None, None] + steps[:, None]
    y = torch.div(cell, width, rounding_mode="floor")[..., None, None] + steps
    if wrapped:
        column_major = x * height + y
        inside = (column_major >= 0) & (column_major < width * height)
        x, y = torch.div(column_major, height, rounding_mode="floor"), column_major % height
    else:
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    # What lies outside goes to one more cell, which is then left out.
    seen = torch.where(inside, y * width + x, height * width).flatten(2)
    mask = torch.zeros((*cell.shape, height * width + 1), dtype=torch.bool, device=cell.device)
    return mask.scatter_(2, seen, True)[..., :-1]
