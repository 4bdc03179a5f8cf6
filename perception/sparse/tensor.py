"""Features on occupied cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from perception.errors import PerceptionError
from perception.sparse.sites import Sites, lexicographic_order


@dataclass(frozen=True, eq=False)
class SparseTensor:
    """``features`` (N, C), row i belonging to row i of ``sites``."""

    features: Tensor
    sites: Sites

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or len(self.features) != len(self.sites):
            raise PerceptionError(
                f"features of shape {tuple(self.features.shape)} for {len(self.sites)} sites",
                f"({len(self.sites)}, channels)",
            )

    @classmethod
    def of(cls, features: Tensor, coordinates: Tensor, spatial_shape: Sequence[int], batch_size: int) -> SparseTensor:
        """Sort rows lexicographically (neighbours in memory are then neighbours in space) and check them."""
        order = lexicographic_order(coordinates)
        return cls(features[order], Sites.of(coordinates[order], spatial_shape, batch_size))

    def __len__(self) -> int:
        return len(self.features)

    @property
    def coordinates(self) -> Tensor:
        return self.sites.coordinates

    @property
    def channels(self) -> int:
        return self.features.shape[1]

    def with_features(self, features: Tensor) -> SparseTensor:
        return SparseTensor(features, self.sites)

    def map(self, function: Callable[[Tensor], Tensor]) -> SparseTensor:
        """The same sites with ``function(features)``."""
        return self.with_features(function(self.features))

    def dense(self) -> Tensor:
        """(batch, C, *spatial_shape) with zeros in empty cells."""
        sites = self.sites
        grid = self.features.new_zeros((sites.batch_size, *sites.spatial_shape, self.channels))
        grid = grid.index_put(tuple(sites.coordinates.long().unbind(1)), self.features)
        return grid.movedim(-1, 1)
