"""From local features to one vector a cloud."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.backbones.hotformer import Gathering, PyramidLevel
from perception.dense import Linear
from perception.errors import PerceptionError
from perception.sparse import SparseTensor
from perception.sparse.pool import global_mean


class QueryPool(nn.Module):
    """Learned queries that ask a cloud's features, which are both keys and values (SALSA, Goswami et al. 2024)."""

    def __init__(self, channels: int, queries: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(queries, channels))

    def forward(self, features: Tensor, sample: Tensor, batch_size: int) -> Tensor:
        """(N, C) of the clouds ``sample`` (N,) -> (B, queries, C)."""
        gathering = Gathering.of(sample, batch_size)
        values = gathering.take(features)
        query = self.query.to(values.dtype).expand(batch_size, -1, -1)
        mask = gathering.mask[:, 0].to(values.dtype) if batch_size > 1 else None
        return F.scaled_dot_product_attention(query, values, values, attn_mask=mask)


class FeatureMixer(nn.Module):
    """A layer norm and two layers over the channels, beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.first = Linear(channels, channels)
        self.second = Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.gelu(self.first(self.norm(x))))


class PyramidPool(nn.Module):
    """Pyramid attentional pooling (HOTFormerLoc, section 3.4): tokens of all levels, mixed, into a unit vector.

    ``pooled`` tokens of each level; of their sum a quarter remains, with so many channels that the vector has ``size``.
    """

    def __init__(self, channels: int, pooled: Sequence[int], size: int, layers: int = 4) -> None:
        super().__init__()
        tokens = sum(pooled) // 4
        if not tokens or size % tokens:
            raise PerceptionError(
                f"{list(pooled)} pooled tokens for a descriptor of {size}", "a quarter of their sum that divides it"
            )
        self.attention = nn.ModuleList(QueryPool(channels, number) for number in pooled)
        self.mixers = nn.Sequential(*(FeatureMixer(channels) for _ in range(layers)))
        self.tokens = Linear(sum(pooled), tokens)
        self.channels = Linear(channels, size // tokens)
        for module in self.mixers.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, pyramid: Sequence[PyramidLevel]) -> Tensor:
        """Unit descriptors (B, size)."""
        found = [
            pool(level.features, level.sites.coordinates[:, 0].long(), level.sites.batch_size)
            for pool, level in zip(self.attention, pyramid)
        ]
        mixed = self.mixers(torch.cat(found, 1))
        fewer = self.tokens(mixed.transpose(1, 2)).transpose(1, 2)
        return F.normalize(self.channels(fewer).flatten(1), dim=1)


class GeM(nn.Module):
    """Generalised mean over a cloud's cells with a learned exponent (Radenovic et al. 2018)."""

    def __init__(self, exponent: float = 3.0, least: float = 1e-6) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.full((1,), exponent))
        self.least = least

    def forward(self, x: SparseTensor) -> Tensor:
        """(B, C)."""
        powers = x.map(lambda features: features.clamp(min=self.least).pow(self.exponent))
        return global_mean(powers).pow(1.0 / self.exponent)
