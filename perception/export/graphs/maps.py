"""Rows of sites to a dense map."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ToMap(nn.Module):
    """Rows (M, C) to a map (1, C * Z, Y, X), channel c * Z + z, at the flat cells (M,) = (z * Y + y) * X + x.

    The cell Z * Y * X takes rows that lie nowhere: files of fixed shapes are filled up with them.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, rows: Tensor, cells: Tensor) -> Tensor:
        depth, height, width = self.shape
        number, channels = depth * height * width, rows.shape[1]
        grid = torch.zeros((number + 1, channels), dtype=rows.dtype).index_put((cells,), rows)[:number]
        return grid.view(depth, height, width, channels).permute(3, 0, 1, 2).reshape(1, -1, height, width)
