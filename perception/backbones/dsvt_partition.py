"""What a stage of DSVT knows of places: its two partitions into windows and sets, and position vectors in a window."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from perception.backbones.attention import PositionEncoding
from perception.config import config
from perception.errors import PerceptionError
from perception.sparse import Sites, VoxelSets, Windows, dynamic_sets

Cells = tuple[int, int, int]


@config
class DSVTStage:
    """``blocks`` blocks on sets of ``set_size`` voxels; sizes are in cells of the stage along z, y, x.

    Even blocks see windows of ``window``, odd ones ``shifted_window`` moved by ``shift`` (the hybrid partition,
    Wang et al. 2023, section 3.3). ``pool`` merges cells in front of the next stage.
    """

    blocks: int = 4
    set_size: int = 36
    window: Cells = (1, 12, 12)
    shifted_window: Cells = (1, 24, 24)
    shift: Cells = (0, 6, 6)
    pool: Cells | None = None

    def __post_init__(self) -> None:
        if (self.window[0] > 1) != (self.shifted_window[0] > 1):
            raise PerceptionError(
                f"windows of {self.window} and {self.shifted_window} cells (z y x)",
                "both one cell high or both higher: positions have two or three coordinates",
            )

    def partitions(self, sites: Sites) -> tuple[VoxelSets, VoxelSets]:
        return (
            dynamic_sets(sites, self.window, 0, self.set_size),
            dynamic_sets(sites, self.shifted_window, self.shift, self.set_size),
        )


class WindowPosition(PositionEncoding):
    """A vector for each row's place in its window: cells from the window's middle, in the order x y (z)."""

    def __init__(self, channels: int, window: Cells) -> None:
        super().__init__(2 if window[0] == 1 else 3, channels)
        self.dimension = self.first.in_features

    def forward(self, windows: Windows) -> Tensor:  # type: ignore[override]
        cells = math.prod(windows.size)
        if self.training or cells >= len(windows.cell):
            return super().forward(self._location(windows.cell, windows.size))
        # In use the vector of a cell is always the same, and a window has far fewer cells than a scan has voxels.
        every = torch.arange(cells, device=windows.cell.device)
        length, width = windows.size[1:]
        place = torch.stack([every // (length * width), every // width % length, every % width], 1)
        z, y, x = windows.cell.unbind(1)
        return super().forward(self._location(place, windows.size))[(z * length + y) * width + x]

    def _location(self, cell: Tensor, size: tuple[int, ...]) -> Tensor:
        middle = torch.tensor([0 if s == 1 else s / 2 for s in size], device=cell.device)
        return (cell - middle).to(self.first.weight.dtype).flip(1)[:, : self.dimension]
