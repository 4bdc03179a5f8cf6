"""The head of TransFusion-L: peaks of a heatmap become queries, a transformer makes boxes of them (Bai et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.config import config
from perception.dense import Layers, Linear
from perception.errors import PerceptionError
from perception.heads.centre_grid import CentreGrid
from perception.heads.centre_head import HEATMAP_BIAS
from perception.heads.transfusion_decoder import QueryDecoder, neighbourhood
from perception.heads.transfusion_selection import QuerySelection, peak_scores, select, top_queries
from perception.results import Detections
from perception.sparse import BatchNorm
from perception.sparse.scatter import gather_rows

BRANCHES = {"centre": 2, "height": 1, "size": 3, "rotation": 2, "velocity": 2}


@config
class TransFusionHeadConfig:
    """Defaults are TransFusion-L's. ``every_cell``: classes whose cells all compete, not only local maxima.

    ``bias``: convolutions before norms have one. ``overlap``: a branch predicts 2 IoU - 1. ``radius``: cells that a
    query sees around it on each axis, None for the whole map; ``wrapped``: as ``neighbourhood`` describes. ``height``:
    whether z is predicted for the centre of a box or for its top.
    """

    queries: int = 200
    channels: int = 128
    heads: int = 8
    feedforward: int = 256
    dropout: float = 0.1
    peak_window: int = 3
    every_cell: tuple[str, ...] = ("pedestrian", "traffic_cone")
    bias: bool = False
    overlap: bool = False
    radius: int | None = None
    wrapped: bool = True
    height: Literal["centre", "top"] = "centre"

    def __post_init__(self) -> None:
        if self.peak_window < 1 or self.peak_window % 2 == 0:
            raise PerceptionError(f"peak_window = {self.peak_window}", "an odd number of cells")


@dataclass(frozen=True, eq=False)
class QueryPredictions:
    """``heatmap`` (B, C, H, W) logits. Of P queries, best first: ``label`` and flat ``cell`` (B, P), ``peak`` (B, P, C)
    the heatmap's scores there, ``codes`` (B, P, 10) and ``scores`` (B, P, C) logits, ``overlap`` (B, P) or None.

    Codes are x y in cells, z, log of the sizes (3), sine and cosine of the heading, velocity (2).
    """

    heatmap: Tensor
    label: Tensor
    cell: Tensor
    peak: Tensor
    codes: Tensor
    scores: Tensor
    overlap: Tensor | None


class TransFusionHead(nn.Module):
    """Bird's-eye-view features (B, C, H, W) to queries and their boxes."""

    def __init__(
        self, inputs: int, classes: Sequence[str], grid: CentreGrid, config: TransFusionHeadConfig | None = None
    ) -> None:
        super().__init__()
        self.config = config = config or TransFusionHeadConfig()
        self.classes, self.grid = tuple(classes), grid
        unknown = sorted(set(config.every_cell) - set(classes))
        if unknown:
            raise PerceptionError(f"every_cell names {unknown}", f"classes of the head: {list(classes)}")
        width, number = config.channels, len(self.classes)
        self.every_cell = tuple(self.classes.index(name) for name in config.every_cell)
        self.shared = nn.Conv2d(inputs, width, 3, padding=1)
        self.heatmap = Layers(
            nn.Conv2d(width, width, 3, padding=1, bias=config.bias),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, number, 3, padding=1),
        )
        self.class_encoding = Linear(number, width)
        self.decoder = QueryDecoder(width, config.heads, config.feedforward, config.dropout)
        self.branches = nn.ModuleDict(
            {
                name: Layers(Linear(width, 64, bias=config.bias), BatchNorm(64), nn.ReLU(), Linear(64, outputs))
                for name, outputs in {**BRANCHES, **({"overlap": 1} if config.overlap else {}), "score": number}.items()
            }
        )
        for name, parameter in self.named_parameters():
            if name in ("heatmap.3.bias", "branches.score.3.bias"):
                nn.init.constant_(parameter, HEATMAP_BIAS)

    def forward(self, x: Tensor) -> QueryPredictions:
        shared = self.shared(x)
        heatmap = self.heatmap(shared)
        peaks = peak_scores(heatmap.detach().float().sigmoid(), self.config.peak_window, self.every_cell)
        label, cell = top_queries(peaks, self.config.queries)

        batch, _, height, width = heatmap.shape
        cells = shared.permute(0, 2, 3, 1).flatten(1, 2)
        rows = (cell + torch.arange(batch, device=cell.device)[:, None] * (height * width)).flatten()
        queries = gather_rows(cells.flatten(0, 1), rows).view(*cell.shape, -1)
        queries = queries + self.class_encoding(F.one_hot(label, len(self.classes)).to(queries.dtype))
        middles = _middles((height, width), queries.device)
        radius = self.config.radius
        mask = None if radius is None else neighbourhood(cell, (height, width), radius, self.config.wrapped)
        queries = self.decoder(queries, middles[cell], cells, middles, mask)

        found = {name: branch(queries.flatten(0, 1)).view(*cell.shape, -1) for name, branch in self.branches.items()}
        found["centre"] = found["centre"] + middles[cell]
        peak = peaks.permute(0, 2, 3, 1).flatten(0, 2)[rows].view(*cell.shape, -1)
        overlap = found["overlap"][..., 0] if self.config.overlap else None
        codes = torch.cat([found[name] for name in BRANCHES], -1)
        return QueryPredictions(heatmap, label, cell, peak, codes, found["score"], overlap)

    def decode(self, codes: Tensor) -> Tensor:
        """Boxes (..., 9) with velocities, of codes (..., 10)."""
        sizes = codes[..., 3:6].exp()
        z = codes[..., 2:3] - (sizes[..., 2:] / 2 if self.config.height == "top" else 0)
        heading = torch.atan2(codes[..., 6:7], codes[..., 7:8])
        return torch.cat([self.grid.to_metres(codes[..., :2]), z, sizes, heading, codes[..., 8:]], -1)

    def encode(self, boxes: Tensor) -> Tensor:
        """Codes (..., 10) of boxes (..., 9): the inverse of ``decode``."""
        z = boxes[..., 2:3] + (boxes[..., 5:6] / 2 if self.config.height == "top" else 0)
        heading = boxes[..., 6:7]
        place = self.grid.to_cells(boxes[..., :2])
        return torch.cat([place, z, boxes[..., 3:6].log(), heading.sin(), heading.cos(), boxes[..., 7:]], -1)

    def scores(self, predictions: QueryPredictions) -> Tensor:
        """Score (B, P) of each query: what the decoder says of its class times the heatmap's score of it."""
        label = predictions.label[..., None]
        return (predictions.scores.float().sigmoid() * predictions.peak).gather(-1, label)[..., 0]

    def results(self, predictions: QueryPredictions, selection: QuerySelection) -> list[Detections]:
        """One Detections a sample, best first."""
        boxes, scores = self.decode(predictions.codes.float()), self.scores(predictions)
        overlap = predictions.overlap
        return [
            select(
                boxes[sample],
                scores[sample],
                predictions.label[sample],
                None if overlap is None else overlap[sample].float(),
                selection,
                self.classes,
            )
            for sample in range(len(boxes))
        ]


def _middles(shape: tuple[int, int], device: torch.device) -> Tensor:
    """Middle x y of each cell (H * W, 2), in cells."""
    height, width = shape
    columns, rows = torch.arange(width, device=device), torch.arange(height, device=device)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1) + 0.5
