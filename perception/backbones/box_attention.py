"""Full attention among the voxels of a box (Lai et al., Stratified / SparseTransformer 2022; VoxelKP section 3.2)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from perception.dense import Linear
from perception.errors import PerceptionError
from perception.sparse import Sites, SparseTensor
from perception.sparse.conv import Size
from perception.sparse.windows import Buckets, Origin, pad, partition


def windows_of(sites: Sites, size: Size, origin: Origin) -> Buckets:
    """The voxels' windows, padded to a few lengths; without a cap on the voxels of one."""
    return pad(partition(sites, size, origin=origin))


class BoxAttention(nn.Module):
    """x + attention(norm(x)), then x + feed(norm(x)), without encodings of position; dropout is 0 as published."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise PerceptionError(f"{channels} channels for {heads} heads", "channels that the heads share evenly")
        self.heads = heads
        self.attention_norm = nn.LayerNorm(channels)
        self.query, self.key, self.value, self.out = (Linear(channels, channels) for _ in range(4))
        self.feed_norm = nn.LayerNorm(channels)
        self.feed = nn.Sequential(Linear(channels, channels), nn.GELU(), Linear(channels, channels))

    def forward(self, x: SparseTensor, buckets: Buckets) -> SparseTensor:
        features = x.features + self._attend(self.attention_norm(x.features), buckets)
        return x.with_features(features + self.feed(self.feed_norm(features)))

    def _attend(self, features: Tensor, buckets: Buckets) -> Tensor:
        # Projected once, then gathered: no row is computed for the padding.
        parts = (buckets.take(layer(features)) for layer in (self.query, self.key, self.value))
        answers = []
        for bucket, query, key, value in zip(buckets.buckets, *parts):
            mask = bucket.filled[:, None, None]
            found = F.scaled_dot_product_attention(
                self._split(query), self._split(key), self._split(value), attn_mask=mask
            )
            answers.append(found.transpose(1, 2).flatten(2))
        return self.out(buckets.put_back(answers))

    def _split(self, values: Tensor) -> Tensor:
        """(B, L, C) -> (B, heads, L, C / heads)."""
        return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)
