"""Multi-head attention in pieces, so that rows are projected once before they are gathered into sets."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.dense import Linear, linear
from perception.errors import PerceptionError
from perception.sparse import BatchNorm


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017) with the three projections in one matrix, in torch's layout.

    ``project`` maps to queries, keys and values in this order, ``out`` joins the heads.
    """

    def __init__(self, channels: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise PerceptionError(f"{channels} channels for {heads} heads", "channels that the heads share evenly")
        self.channels, self.heads, self.dropout = channels, heads, dropout
        self.project = Linear(channels, 3 * channels)
        self.out = Linear(channels, channels)
        for layer in (self.project, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def queries(self, x: Tensor) -> Tensor:
        return self._project(x, 0, 1)

    def keys(self, x: Tensor) -> Tensor:
        return self._project(x, 1, 2)

    def values(self, x: Tensor) -> Tensor:
        return self._project(x, 2, 3)

    def queries_keys(self, x: Tensor) -> Tensor:
        """Both in one product: (..., C) -> (..., 2 * C)."""
        return self._project(x, 0, 2)

    def keys_values(self, x: Tensor) -> Tensor:
        return self._project(x, 1, 3)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Projected queries (B, Q, C), keys and values (B, K, C) -> (B, Q, C), before ``out``.

        ``mask`` (B, Q or 1, K) bool is True where a query may look.
        """
        found = F.scaled_dot_product_attention(
            self._split(queries),
            self._split(keys),
            self._split(values),
            attn_mask=None if mask is None else mask[:, None],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return found.transpose(1, 2).flatten(2)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Plain attention of (B, Q, C) to (B, K, C)."""
        return self.out(self.attend(self.queries(query), self.keys(key), self.values(value), mask))

    def _project(self, x: Tensor, first: int, last: int) -> Tensor:
        rows = slice(first * self.channels, last * self.channels)
        return linear(x, self.project.weight[rows], self.project.bias[rows])

    def _split(self, x: Tensor) -> Tensor:
        """(B, L, C) -> (B, heads, L, C / heads)."""
        return x.unflatten(-1, (self.heads, self.channels // self.heads)).transpose(1, 2)


class PositionEncoding(nn.Module):
    """Coordinates to vectors: linear, batch norm, ReLU, linear (as DSVT and TransFusion learn positions)."""

    def __init__(self, dimension: int, channels: int) -> None:
        super().__init__()
        self.first = Linear(dimension, channels)
        self.norm = BatchNorm(channels)
        self.second = Linear(channels, channels)

    def forward(self, location: Tensor) -> Tensor:
        """(..., dimension) -> (..., channels)."""
        # Half precision would round cells of a large map to their neighbours.
        with torch.autocast(location.device.type, enabled=False):
            rows = self.norm(self.first(location.flatten(0, -2).to(self.first.weight.dtype))).relu()
        return self.second(rows).view(*location.shape[:-1], self.second.out_features)


def xavier(module: nn.Module) -> None:
    """Every matrix of the module drawn as Glorot & Bengio 2010 do, as the published transformers begin."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)


def masked(mask: Tensor) -> Tensor:
    """Keys that no query sees (B, K) -> the mask of ``Attention.attend``."""
    return torch.logical_not(mask)[:, None]
