"""Fully connected layers from the pooled features of a proposal to its score and its correction."""

from __future__ import annotations

from torch import Tensor, nn

from perception.config import config
from perception.dense import Layers, Linear
from perception.sparse import BatchNorm


@config
class RefineLayers:
    """Widths of the layers that both answers share, and of those each has before its last; ``dropout`` between."""

    shared: tuple[int, ...] = (256, 256)
    score: tuple[int, ...] = (256, 256)
    residual: tuple[int, ...] = (256, 256)
    dropout: float = 0.3


class RefineHead(nn.Module):
    """One logit and seven residuals a proposal, whatever its class (Shi et al. 2020, PV-RCNN, section 3.3)."""

    def __init__(self, inputs: int, layers: RefineLayers) -> None:
        super().__init__()
        self.inputs = inputs
        self.shared, width = _connected(inputs, layers.shared, layers.dropout)
        self.score, score_width = _connected(width, layers.score, layers.dropout)
        self.residual, residual_width = _connected(width, layers.residual, layers.dropout)
        self.score_out = Linear(score_width, 1)
        self.residual_out = Linear(residual_width, 7)
        for layer, spread in ((self.score_out, 0.01), (self.residual_out, 0.001)):
            nn.init.normal_(layer.weight, 0, spread)
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (R,) and residuals (R, 7) from pooled features (R, C)."""
        shared = self.shared(pooled)
        return self.score_out(self.score(shared))[:, 0], self.residual_out(self.residual(shared))


def _connected(inputs: int, widths: tuple[int, ...], dropout: float) -> tuple[nn.Sequential, int]:
    """Linear, norm and ReLU for each width, with dropout in between, and the width that comes out."""
    layers: list[nn.Module] = []
    for width in widths:
        if layers:
            layers.append(nn.Dropout(dropout))
        linear = Linear(inputs, width, bias=False)
        nn.init.xavier_normal_(linear.weight)
        layers += [linear, BatchNorm(width), nn.ReLU()]
        inputs = width
    return Layers(*layers), inputs
